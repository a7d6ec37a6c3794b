"""Real labelled micrographs, which are not part of the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).parents[2].parent / "shared" / "data"


def uhcs() -> Path:
    """The folder of the 24 steel micrographs; skips the test where it is missing."""
    folder = Path(os.environ.get("HPTL_DATA") or _BESIDE) / "uhcs"
    if not (folder / "dataset.toml").is_file():
        pytest.skip("needs the data set uhcs: ../shared/data beside the checkout, or HPTL_DATA")
    return folder
