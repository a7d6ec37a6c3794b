"""Where a device has no room for a frame, or was not built for it, tiles give the same map."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from hptl_deploy.engines import Engine, open_engine
from hptl_deploy.engines.memory.host import HostMemory
from hptl_deploy.errors import OutOfDeviceMemory, UsageError
from hptl_deploy.model import load_model
from hptl_deploy.segmentation import SegmentOptions, segment
from support.sinks import Recorder
from support.stand_in_tensorrt import open_stand_in
from support.threshold_model import write_threshold_model

SIZE = (120, 180)  # within the stand-in's profiles (136 x 200) once it is filled up to the stride


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Stride 8, halo 24: a class depends on pixels round it, so wrong tiles would show."""
    return write_threshold_model(tmp_path / "models", smoothing=2)


def frames(folder: Path, *sizes: tuple[int, int]) -> Path:
    folder.mkdir()
    for number, size in enumerate(sizes):
        pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)
        tifffile.imwrite(folder / f"{number}.tif", pixels)
    return folder


def class_maps(folder: Path) -> list[NDArray[np.uint8]]:
    return [tifffile.imread(path) for path in sorted(folder.glob("*_classes.tif"))]


def segmented(source: Path, engine: Engine, out: Path) -> tuple[list[NDArray[np.uint8]], list[str]]:
    """(class maps, notes) of a run in which everything is done."""
    sink = Recorder()
    with engine:
        summary = segment(SegmentOptions(source, out), engine, sink)
    assert (summary.exit_code, summary.counts["failed"]) == (0, 0)
    return class_maps(out), sink.notes


def reference(model: Path, source: Path, out: Path) -> list[NDArray[np.uint8]]:
    return segmented(source, open_engine(load_model(model), "cpu"), out)[0]


def test_the_tile_shrinks_once_and_the_run_goes_on(tmp_path: Path, model: Path) -> None:
    source = frames(tmp_path / "in", SIZE, SIZE, (40, 40))
    # Room for the ring and for a workspace of 100 bytes for each of some 9000 pixels.
    ring = 4 * (3 + 2) * 4 * 136 * 200
    memory = HostMemory(capacity=ring + 900_000)
    engine = open_stand_in(model, memory, scratch=100)
    found, notes = segmented(source, engine, tmp_path / "out")
    assert all(map(np.array_equal, found, reference(model, source, tmp_path / "right")))
    shrunk = [note for note in notes if "going on in tiles" in note]
    sizes = [120 * 184 // 2**halvings for halvings in range(1, 1 + len(shrunk))]
    assert sizes[-1] <= 9000 < sizes[-1] * 2
    assert shrunk[0].startswith("model threshold: cpu has no memory left for 1 x 120 x 184 px (")
    assert not +memory.live


def test_not_even_the_smallest_tile(tmp_path: Path, model: Path) -> None:
    source = frames(tmp_path / "in", SIZE, (8, 8))
    ring = 4 * (3 + 2) * 4 * 136 * 200
    engine = open_stand_in(model, HostMemory(capacity=ring + 20_000), scratch=100)
    with engine:
        summary = segment(SegmentOptions(source, tmp_path / "out"), engine, Recorder())
    # 8 x 8 px and halos are 56 x 56 px in the first, 8 x 8 in the second.
    assert [failure.file for failure in summary.failures] == ["0.tif"]
    assert "has no memory left for 1 x " in summary.failures[0].reason
    assert summary.counts["done"] == 1


def test_an_engine_is_given_what_it_was_built_for(tmp_path: Path, model: Path) -> None:
    source = frames(tmp_path / "in", (300, 500), (24, 32), (16, 216))
    found, notes = segmented(source, open_stand_in(model), tmp_path / "out")
    assert all(map(np.array_equal, found, reference(model, source, tmp_path / "right")))
    assert not [note for note in notes if "memory left" in note]


def test_a_forced_tile_beyond_the_engine(tmp_path: Path, model: Path) -> None:
    source = frames(tmp_path / "in", (300, 500))
    options = SegmentOptions(source, tmp_path / "out", tile=128)
    with open_stand_in(model) as engine, pytest.raises(UsageError) as caught:
        segment(options, engine, Recorder())
    assert str(caught.value) == (
        "--tile 128: the engine was not built for tiles of 176 x 176 px, halos included. Choose a "
        "smaller --tile, or leave it out"
    )
    assert not options.out_folder.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="limits a process's address space")
def test_onnx_runtime_without_memory_says_so(model: Path) -> None:
    code = f"""
import resource, numpy as np
from pathlib import Path
from hptl_deploy.engines import open_engine
from hptl_deploy.errors import OutOfDeviceMemory, UsageError
from hptl_deploy.model import load_model
engine = open_engine(load_model(Path({str(model)!r})), "cpu")
engine.infer(np.zeros((1, 64, 64, 3), np.uint8))
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 28), resource.RLIM_INFINITY))
batch = np.zeros((1, 4096, 4096, 3), np.uint8)
try:
    engine.infer(batch)
except OutOfDeviceMemory as exc:
    print(exc)
print(engine.infer(np.zeros((1, 64, 64, 3), np.uint8)).classes.shape)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert ended.returncode == 0, ended.stderr
    sentence, shape = ended.stdout.splitlines()
    assert sentence.startswith("model threshold: cpu has no memory left for 1 x 4096 x 4096 px (")
    assert sentence.endswith("). Choose a smaller --tile")
    assert shape == "(1, 64, 64)"
    assert OutOfDeviceMemory.exit_code == 1
