"""TensorRT for RTX builds without a card, so what is tested here is really built."""

from __future__ import annotations

from pathlib import Path

import pytest

from hptl_deploy.engines.flavour import TENSORRT_RTX, Flavour, load_flavour
from hptl_deploy.errors import EnvironmentLacks


@pytest.fixture(scope="session")
def rtx() -> Flavour:
    """TensorRT for RTX; tests that need it are skipped with the reason where it is missing."""
    try:
        return load_flavour(TENSORRT_RTX)
    except EnvironmentLacks as exc:
        pytest.skip(str(exc))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder, for the time of a test."""
    folder = tmp_path / "cache"
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(folder))
    return folder / "hptl-deploy"
