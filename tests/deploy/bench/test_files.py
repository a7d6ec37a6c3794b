from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from hptl_deploy.bench import synthetic_frames
from hptl_deploy.bench.files import FILES, file_run, write_inputs
from hptl_deploy.engines import Engine, open_engine
from hptl_deploy.errors import EngineError
from hptl_deploy.model import load_model
from support.threshold_model import write_threshold_model


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return open_engine(load_model(write_threshold_model(tmp_path / "models")), "cpu")


def test_inputs_are_the_frames_in_turn(tmp_path: Path) -> None:
    frames = synthetic_frames(72, 96)
    folder = write_inputs(frames, tmp_path / "in")
    files = sorted(folder.iterdir())
    assert [path.name for path in files] == [f"frame_{k}.tif" for k in range(1, FILES + 1)]
    for number, path in enumerate(files):
        assert (tifffile.imread(path) == frames.pictures[number % 2]).all()


def test_a_run_is_segments_own(tmp_path: Path, engine: Engine) -> None:
    inputs = write_inputs(synthetic_frames(72, 96), tmp_path / "in")
    out = tmp_path / "out"
    with engine:
        run = file_run(engine, inputs, out)
    assert run.files == FILES
    assert set(run.busy) == {"read", "infer", "write"}
    assert all(0 < spent < run.seconds for spent in run.busy.values())
    assert run.files_per_second == pytest.approx(FILES / run.seconds)
    assert run.to_json()["files_per_second"] == run.files_per_second
    maps = sorted(out.glob("*_classes.tif"))
    assert len(maps) == FILES
    assert np.unique(tifffile.imread(maps[0])).size > 1


def test_a_file_that_fails_ends_it(tmp_path: Path, engine: Engine) -> None:
    inputs = write_inputs(synthetic_frames(72, 96), tmp_path / "in")
    (inputs / "frame_9.tif").write_bytes(b"II*\0")
    with engine, pytest.raises(EngineError, match=r"^onnxruntime-cpu: frame_9.tif failed \("):
        file_run(engine, inputs, tmp_path / "out")
