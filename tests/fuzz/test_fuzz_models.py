"""Damaged model files and cards by the thousand: an answer, or one clear sentence."""

from __future__ import annotations

import pytest

from fuzz.asked import FILES, SEED, needs_limits
from fuzz.campaign import run

pytestmark = needs_limits


def test_some_damaged_models() -> None:
    report = run("models", 20261129, 200)
    assert not report.findings, str(report)
    assert min(report.outcomes["read"], report.outcomes["refused"]) > 10


@pytest.mark.slow
def test_many_damaged_models() -> None:
    """10 000 files: 100 s on a shared core (45 s of processor time)."""
    report = run("models", SEED, FILES // 2)
    assert not report.findings, str(report)
