from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hptl_deploy.engines import Engine, open_engine
from hptl_deploy.model import load_model
from support.threshold_model import write_threshold_model


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The plain threshold model: a pixel's class depends on the pixel alone."""
    path: Path = write_threshold_model(tmp_path_factory.mktemp("models"))
    with open_engine(load_model(path), "cpu") as opened:
        yield opened
