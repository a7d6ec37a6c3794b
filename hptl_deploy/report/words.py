"""How the report writes numbers and names."""

from __future__ import annotations

import math
from datetime import datetime

from hptl_deploy.results import is_number
from hptl_deploy.wording import printable

UNKNOWN = "\N{EN DASH}"
"""Stands for what is not known."""
_THIN = "\N{NARROW NO-BREAK SPACE}"


def number(value: object, digits: int = 0) -> str:
    """`12 345.60` with `digits` decimals; a dash for what is no finite number."""
    if not is_number(value):
        return UNKNOWN
    text = f"{value:,.{digits}f}"
    return text.replace(",", _THIN).replace("-", "\N{MINUS SIGN}")


def significant(value: object, digits: int = 3) -> str:
    """`value` with so many significant digits, never as a power of ten."""
    if not is_number(value):
        return UNKNOWN
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits - 1}e}")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return number(rounded, decimals)


def plain(value: object) -> str:
    """A number with at most four significant digits and no zeros at its end: a pixel size."""
    text = significant(value, 4)
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(share: object) -> str:
    """A share 0 to 1 in per cent: two decimals, below 0.1 % two significant digits."""
    if not is_number(share):
        return UNKNOWN
    assert isinstance(share, int | float)
    value = 100 * share
    return number(value, 2) if value == 0 or abs(value) >= 0.1 else significant(value, 2)


def points(difference: object) -> str:
    """A difference of shares in percentage points, with its sign; digits as `percent`."""
    text = percent(difference)
    return f"+{text}" if is_number(difference) and difference > 0 else text


def length(um: float) -> str:
    """`50 µm`, `2 mm`."""
    return f"{um / 1000:g} mm" if um >= 1000 else f"{um:g} µm"


def date(text: object) -> str:
    """`30 November 2026, 07:48 UTC` of what run.json writes; the text itself where it is none."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return str(text)
    zone = found.tzname() or ""
    return f"{found.day} {found:%B %Y, %H:%M} {zone}".strip()


def seconds(value: object) -> str:
    """`1 h 02 min`, `3 min 20 s`, `41 s`."""
    if not is_number(value):
        return UNKNOWN
    whole = round(value)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{value:.3g} s"


def shown(value: object) -> object:
    """What jinja writes for `value`: text of others without characters that would be obeyed.

    A name may turn the order of what stands beside it, or hold bytes that are no Unicode.
    """
    if hasattr(value, "__html__"):
        return value
    return printable(value) if isinstance(value, str) else value
