"""An int8 model runs where the processor computes it as it was verified, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from hptl_deploy.engines import open_engine
from hptl_deploy.errors import EnvironmentLacks
from hptl_deploy.model import Model
from hptl_deploy.probe import Probe
from support.model_errors import sentence
from support.saturating import answer, saturating_model, white_and_grey

FRAME = white_and_grey()
EXACT, SATURATED = (answer(FRAME, saturating=saturating) for saturating in (False, True))


def fast_classes(model: Model) -> NDArray[np.uint8]:
    """What a session of ONNX Runtime's own settings answers."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(str(model.path), options, providers=["CPUExecutionProvider"])
    (classes,) = session.run(["classes"], {"micrograph": FRAME[None]})
    found: NDArray[np.uint8] = classes[0]
    return found


def fast_sums_saturate(model: Model) -> bool:
    return not np.array_equal(fast_classes(model), EXACT)


def test_the_two_arithmetics_differ_where_it_is_bright() -> None:
    assert not EXACT.any()
    assert SATURATED[:, 8:].all()
    assert not SATURATED[:, :8].any()


def test_sums_that_could_saturate_are_exact_on_every_machine(tmp_path: Path) -> None:
    """At once, or by the slower way that the probe calls for."""
    model = saturating_model(tmp_path, Probe.of(FRAME, EXACT))
    with open_engine(model, "cpu") as engine:
        assert np.array_equal(engine.infer(FRAME[None]).classes[0], EXACT)
        slower = [remark for remark in engine.info.remarks if "exact, slower form" in remark]
        assert len(slower) == int(fast_sums_saturate(model))


def test_a_machine_that_does_not_reproduce_the_probe_is_refused(tmp_path: Path) -> None:
    neither = 1 - EXACT  # the one arithmetic misses all of it, the other half
    model = saturating_model(tmp_path, Probe.of(FRAME, neither))
    with pytest.raises(EnvironmentLacks) as raised:
        open_engine(model, "cpu")
    assert str(raised.value) == (
        f"{model.path}: onnxruntime-cpu gives 256 of the 256 pixels of the model's probe another "
        "class on this machine than it was verified with (at most 1 may tie), so its int8 results "
        "would be wrong here. Leave --precision int8 out"
    )
    assert raised.value.exit_code == 3


def test_saturated_sums_fail_the_probe(tmp_path: Path) -> None:
    """ONNX Runtime's fast way, where this processor saturates."""
    probe = Probe.of(FRAME, EXACT)
    model = saturating_model(tmp_path, probe)
    if not fast_sums_saturate(model):
        pytest.skip("this processor's 8-bit products do not saturate")
    assert probe.differing(fast_classes(model)) > probe.tolerated


def test_a_tie_is_tolerated_and_no_more(tmp_path: Path) -> None:
    expected = EXACT.copy()
    expected[0, 0] = 1  # 1 of 256 pixels; 0.5 % are 1
    with open_engine(saturating_model(tmp_path / "one", Probe.of(FRAME, expected)), "cpu"):
        pass
    expected[0, 1] = 1
    with pytest.raises(EnvironmentLacks, match="gives 2 of the 256 pixels"):
        open_engine(saturating_model(tmp_path / "two", Probe.of(FRAME, expected)), "cpu")


def test_an_int8_model_without_a_probe_is_not_trusted(tmp_path: Path) -> None:
    model = saturating_model(tmp_path, None)
    assert sentence(lambda: open_engine(model, "cpu")) == (
        f"{model.path}: carries no probe, so nothing tells whether onnxruntime-cpu computes it "
        "here as it was verified. Export it again with this version"
    )
