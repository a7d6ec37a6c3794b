from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hptl_deploy.engines import Engine, open_engine
from hptl_deploy.engines.base import Prediction
from hptl_deploy.model import load_model
from hptl_deploy.segmentation import SegmentOptions, segment
from hptl_deploy.segmentation.inputs.arrivals import CaughtUp
from support.mosaic_runs import Calls, colours, lower, results, save_tiff
from support.threshold_model import write_threshold_model
from support.watching import Watch

NOBODY = 65534


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The plain threshold model: a pixel's class depends on the pixel alone."""
    path: Path = write_threshold_model(tmp_path_factory.mktemp("models"))
    with open_engine(load_model(path), "cpu") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty one, to be watched; `out` stands beside it."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    return tmp_path / "in"


@pytest.fixture
def watch(folder: Path) -> Iterator[Watch]:
    watch = Watch(folder, folder.with_name("out"))
    yield watch
    watch.end()


@pytest.fixture
def watching(watch: Watch) -> Watch:
    """A watch over a folder that was empty so far."""
    watch.begin()
    assert watch.next() == CaughtUp(())
    return watch


@pytest.fixture
def ordinary_user() -> Iterator[Path]:
    """A folder of a user whom rights bind: root, who may do everything, is nobody meanwhile."""
    if sys.platform == "win32":
        pytest.skip("rights of this kind are not known to Windows")
    folder = Path(tempfile.mkdtemp(prefix="hptl-user-"))
    user = os.geteuid()
    if user == 0:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        for needed in (__file__, str(np.__file__)):
            if not os.access(needed, os.R_OK, effective_ids=True):
                pytest.skip(f"root as nobody cannot read {needed}")
        yield folder
    finally:
        os.seteuid(user)
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that sees round a pixel: stride 8, halo 24."""
    return write_threshold_model(tmp_path_factory.mktemp("seeing"), stride=8, smoothing=2)


@pytest.fixture(scope="session")
def seeing(model_path: Path) -> Iterator[Engine]:
    """With `model_path`, on the CPU."""
    with open_engine(load_model(model_path), "cpu") as opened:
        yield opened


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of half a megapixel are mosaics."""
    lower(monkeypatch.setattr)


@pytest.fixture
def one_by_one(small_limits: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A band is read when the one before is stored: it is said to take more than there is."""
    monkeypatch.setattr("hptl_deploy.segmentation.memory.MemoryPlan.held", lambda *_: 1 << 50)
    monkeypatch.setattr("hptl_deploy.segmentation.memory.MemoryPlan.check_bands", lambda *_: 1)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A page of five bands."""
    return save_tiff(tmp_path / "in" / "m.tif", colours())


@pytest.fixture
def options(source: Path, tmp_path: Path) -> SegmentOptions:
    """To segment `source`, with all that can be written."""
    return SegmentOptions(source, tmp_path / "out", confidence=True)


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory: pytest.TempPathFactory, model_path: Path) -> dict[str, bytes]:
    """Results of a run of `options` by `seeing`, in one go."""
    folder = tmp_path_factory.mktemp("unbroken")
    source = save_tiff(folder / "in" / "m.tif", colours())
    with pytest.MonkeyPatch.context() as patch, open_engine(load_model(model_path), "cpu") as one:
        lower(patch.setattr)
        return results(segment(SegmentOptions(source, folder / "out", confidence=True), one).out)


@pytest.fixture
def calls(seeing: Engine, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """The shape of every batch that `seeing` is given from now on."""
    shapes: Calls = []
    infer = seeing._infer

    def counting(batch: NDArray[np.uint8]) -> Prediction:
        shapes.append(batch.shape)
        return infer(batch)

    monkeypatch.setattr(seeing, "_infer", counting)
    return shapes
