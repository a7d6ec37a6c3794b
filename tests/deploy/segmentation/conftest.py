from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hptl_deploy.engines import Engine, open_engine
from hptl_deploy.model import load_model
from hptl_deploy.segmentation.arrivals import CaughtUp
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
