"""What all tests share: parts of the toolkit that are not installed are left out, aloud."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

# Several files of tests at a time share the processors; threads of one that wait for each other
# would only keep the other waiting. Read by torch, and by processes that tests start.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from hptl_deploy.engines import storage
from hptl_deploy.engines.flavour import TENSORRT_RTX, Flavour, load_flavour
from hptl_deploy.errors import EnvironmentLacks

# A test asserts no time: on a busy machine an example takes as long as it takes. Everybody gets the
# same examples, so that a test that fails is the change's doing; `--hypothesis-profile explore`
# looks for others, many more.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile("same")

HAS_TORCH = find_spec("torch") is not None

# A workstation that only segments has no torch; what it can do is tested there all the same, and
# building engines is part of it.
_EXPORT = sorted(path.name for path in (Path(__file__).parent / "export").glob("test_*.py"))
collect_ignore = [] if HAS_TORCH else ["train", *(f"export/{name}" for name in _EXPORT)]


def pytest_report_header() -> str:
    """Says at the top of a run what is not being tested."""
    if HAS_TORCH:
        return "training and export: tested"
    return "training and export: NOT tested, torch is not installed"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder, for the time of a test."""
    folder = tmp_path / "cache" / "hptl-deploy"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder.parent))  # for processes that are started
    monkeypatch.setattr(storage, "user_cache_path", lambda *_, **__: folder)
    return folder


@pytest.fixture(autouse=True)
def faults_of_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run goes on without a report where its making fails unexpectedly; a test does not."""

    def raised(error: Exception) -> None:
        raise error

    monkeypatch.setattr("hptl_deploy.report.writing.unexpected", raised)


@pytest.fixture(scope="session")
def rtx() -> Flavour:
    """TensorRT for RTX, which builds without a card; skips, saying why, where it is missing."""
    try:
        return load_flavour(TENSORRT_RTX)
    except EnvironmentLacks as exc:
        pytest.skip(str(exc))
