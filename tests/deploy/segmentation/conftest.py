from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hptl_deploy.engines import Engine, open_engine
from hptl_deploy.model import load_model
from hptl_deploy.segmentation.arrivals import CaughtUp
from support.threshold_model import write_threshold_model
from support.watching import Watch


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The plain threshold model: a pixel's class depends on the pixel alone."""
    path: Path = write_threshold_model(tmp_path_factory.mktemp("models"))
    with open_engine(load_model(path), "cpu") as opened:
        yield opened


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    return tmp_path / "in"


@pytest.fixture
def watch(source: Path) -> Iterator[Watch]:
    watch = Watch(source, source.with_name("out"))
    yield watch
    watch.end()


@pytest.fixture
def watching(watch: Watch) -> Watch:
    """A watch over a folder that was empty so far."""
    watch.begin()
    assert watch.next() == CaughtUp(())
    return watch
