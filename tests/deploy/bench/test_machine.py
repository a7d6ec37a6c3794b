from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from hptl_deploy.bench import bench, run, synthetic_frames
from hptl_deploy.bench.machine import busy_share, cores, describe_machine
from hptl_deploy.model import load_model
from support.sinks import Recorder
from support.threshold_model import write_threshold_model


def test_cores_are_those_that_may_be_used() -> None:
    assert 1 <= cores() <= (psutil.cpu_count(logical=False) or 1)
    if hasattr(os, "sched_setaffinity"):
        mine = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, {min(mine)})
            assert cores() == 1
        finally:
            os.sched_setaffinity(0, mine)


def test_the_processor_is_described() -> None:
    found = describe_machine("cpu", 0.25)
    assert found["processor"]
    assert "avx512_vnni" in found["eight_bit"]
    assert found["busy_before"] == 0.25
    assert 0 <= busy_share() <= 1


@pytest.mark.parametrize(("busy", "said"), [(0.05, False), (0.34, True)])
def test_a_machine_at_work_for_others_is_said(
    busy: float, said: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "busy_share", lambda: busy)
    sink = Recorder()
    model = load_model(write_threshold_model(tmp_path))
    result = bench(model, synthetic_frames(64, 64), "cpu", 1, sink)
    assert result.machine["busy_before"] == busy
    sentence = (
        "other programs keep 34 % of the processors at work, so times will be longer than this "
        "machine's own and ratios uncertain"
    )
    assert (sentence in sink.notes) is said
