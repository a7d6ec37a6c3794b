"""Damaged pictures by the thousand: pixels as declared, or one clear sentence, within bounds."""

from __future__ import annotations

import pytest

from fuzz.asked import FILES, SEED, needs_limits
from fuzz.campaign import run

pytestmark = needs_limits


def test_some_damaged_pictures() -> None:
    report = run("pictures", 20261129, 300)
    assert not report.findings, str(report)
    assert min(report.outcomes["read"], report.outcomes["refused"]) > 50


@pytest.mark.slow
def test_many_damaged_pictures() -> None:
    """20 000 files: 4 minutes on a shared core (90 s of processor time)."""
    report = run("pictures", SEED, FILES)
    assert not report.findings, str(report)
