from __future__ import annotations

import pytest

from hptl_deploy.report import words


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0094, "0.94"), (1.0, "100.00"), (0.0, "0.00"), (0.00051, "0.051"), (3.6e-6, "0.00036"),
        (0.000999, "0.10"), (0.001, "0.10"), (None, "–"), (float("nan"), "–"), ("1", "–"),
        (True, "–"), (-0.0123, "−1.23"),
    ],
)  # fmt: skip
def test_shares_in_per_cent(share: object, text: str) -> None:
    assert words.percent(share) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0601, "0.0601"), (0.25, "0.25"), (12, "12"), (1234567, "1\N{NARROW NO-BREAK SPACE}235"
      "\N{NARROW NO-BREAK SPACE}000"), (0.06254321, "0.06254"), (100, "100")],
)  # fmt: skip
def test_plain_numbers(value: float, text: str) -> None:
    assert words.plain(value) == text


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(29_491_200 / 1e6, 3, "29.5"), (0.0, 3, "0"), (9.996, 3, "10.0"), (0.000123456, 2, "0.00012")],
)
def test_significant_digits(value: float, digits: int, text: str) -> None:
    assert words.significant(value, digits) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3725, "1 h 02 min"), (200, "3 min 20 s"), (59.7, "1 min 00 s"), (2.345, "2.35 s"),
     (None, "–")],
)  # fmt: skip
def test_times(seconds: object, text: str) -> None:
    assert words.seconds(seconds) == text


def test_dates() -> None:
    assert words.date("2026-11-30T07:48:13+00:00") == "30 November 2026, 07:48 UTC"
    assert words.date("yesterday") == "yesterday"


def test_what_would_turn_or_break_a_line_is_not_obeyed() -> None:
    assert words.shown("a\u202etxt.exe\ud800") == "a?txt.exe?"
    assert words.shown(3) == 3
