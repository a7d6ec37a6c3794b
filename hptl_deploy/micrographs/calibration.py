"""The size of a pixel from what a file states, or why it is unknown: never a guess.

Every function works in micrometres per pixel. A stated size is taken if it lies within
0.01 to 20 um, its two directions agree within 1 %, and, where it is written as a
density, it is not one that programs write for screens, printers and scanners.
"""

from __future__ import annotations

import math

from hptl_deploy.errors import UsageError
from hptl_deploy.micrographs.base import Calibration

SMALLEST_UM = 0.01
LARGEST_UM = 20.0

LARGEST_DIFFERENCE = 0.01
"""Between the sizes in x and y, as a share of the larger one."""

UM_PER_INCH = 25400.0

UNIT_UM = {
    "m": 1e6,
    "cm": 1e4,
    "mm": 1e3,
    "µm": 1.0,  # micro sign
    "μm": 1.0,  # Greek mu
    "\\u00b5m": 1.0,  # as ImageJ writes it
    "um": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "micrometers": 1.0,
    "micrometre": 1.0,
    "micrometres": 1.0,
    "nm": 1e-3,
    "å": 1e-4,
    "angstrom": 1e-4,
    "pm": 1e-6,
    "in": UM_PER_INCH,
    "inch": UM_PER_INCH,
    "inches": UM_PER_INCH,
}
"""Micrometres in one unit; keys are lower case."""

DEVICE_DPI = (
    # Screens, printers, halftones. Up to 1270 dpi these are above 20 um per pixel anyway,
    # and stand here for the sentence.
    *(72, 75, 90, 96, 100, 120, 144, 150, 180, 192, 200, 240, 250, 300, 350, 360, 400),
    *(500, 600, 720, 800, 1000, 1200, 1440),
    # Scanners. Not 2540, which is 10 um per pixel and may well be meant.
    *(2400, 2880, 3200, 3600, 4000, 4800, 5760, 6400, 7200, 9600),
)
_DPI_TOLERANCE = 1e-3  # 72 dpi is stored as 28.35 per cm and 2835 per m (72.009 dpi)


def from_option(value_um: float) -> Calibration:
    """What `--pixel-size` says, in micrometres per pixel.

    Raises UsageError outside 0.01 to 20 um.
    """
    if not SMALLEST_UM <= value_um <= LARGEST_UM:
        raise UsageError(
            f"--pixel-size {value_um:g}: expected {SMALLEST_UM:g} to {LARGEST_UM:g} "
            "micrometres per pixel"
        )
    return Calibration(float(value_um), "--pixel-size")


def from_sizes(x_um: float, y_um: float, source: str) -> Calibration:
    """From the stated width and height of a pixel, in micrometres."""
    if not (math.isfinite(x_um) and math.isfinite(y_um) and x_um > 0 and y_um > 0):
        return Calibration(None, f"{source}: {x_um:g} x {y_um:g} um is no pixel size")
    if abs(x_um - y_um) > LARGEST_DIFFERENCE * max(x_um, y_um):
        return Calibration(None, f"{source}: pixels are not square ({x_um:.4g} x {y_um:.4g} um)")
    if not SMALLEST_UM <= x_um <= LARGEST_UM:
        return Calibration(
            None,
            f"{source}: {x_um:.4g} um per pixel is outside {SMALLEST_UM:g} to {LARGEST_UM:g}",
        )
    return Calibration(x_um, source)


def from_computed(x_um: float, y_um: float, source: str) -> Calibration:
    """`from_sizes` of what was worked out from what is stated.

    0.25 um instead of 0.24999999999999997, which nobody meant.
    """
    return from_sizes(float(f"{x_um:.12g}"), float(f"{y_um:.12g}"), source)


def from_density(
    x: float, y: float, unit_um: float, source: str, *, of_devices: bool = True
) -> Calibration | None:
    """From pixels per unit, the unit in micrometres; None where nothing is stated.

    With `of_devices` a density that is usual for screens, printers and scanners is
    taken for theirs: formats without a word for "of the specimen" store both alike.
    """
    if not (math.isfinite(x) and math.isfinite(y)) or x <= 0 or y <= 0 or x == y == 1:
        return None
    dpi = x * UM_PER_INCH / unit_um
    if of_devices and math.isclose(x, y, rel_tol=_DPI_TOLERANCE):
        for usual in DEVICE_DPI:
            if math.isclose(dpi, usual, rel_tol=_DPI_TOLERANCE):
                return Calibration(None, f"{source}: {usual} dpi is a {_device(usual)}'s")
    return from_sizes(unit_um / x, unit_um / y, source)


def unit_um(name: str) -> float | None:
    """Micrometres in the unit called `name`, or None for an unknown one."""
    return UNIT_UM.get(name.strip().lower())


def is_no_unit(name: str) -> bool:
    """True for the words that say that no unit was set."""
    return name.strip().lower() in {"", "pixel", "pixels", "none", "null"}


def _device(dpi: int) -> str:
    if dpi in {72, 90, 96, 120, 144, 192}:
        return "screen"
    return "printer" if dpi <= 1440 else "scanner"
