from __future__ import annotations

from pathlib import Path

import pytest

from hptl_deploy.synthesis import write_data_set
from support.synthesis import request


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty frames made at once."""
    folder = tmp_path_factory.mktemp("whole") / "set"
    write_data_set(request(folder, 20))
    return folder
