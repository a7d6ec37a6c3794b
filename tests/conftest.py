"""What all tests share: parts of the toolkit that are not installed are left out, aloud."""

from __future__ import annotations

from importlib.util import find_spec

HAS_TORCH = find_spec("torch") is not None

# A workstation that only segments has no torch; its tests run there all the same.
collect_ignore = [] if HAS_TORCH else ["train", "export"]


def pytest_report_header() -> str:
    """Says at the top of a run what is not being tested."""
    if HAS_TORCH:
        return "training and export: tested"
    return "training and export: NOT tested, torch is not installed"
