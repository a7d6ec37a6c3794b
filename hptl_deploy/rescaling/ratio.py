"""Whether a micrograph is rescaled, and by how much: a ratio of two small whole numbers.

Whole numbers, because bands of a mosaic then begin on whole rows of both grids, so that what is
resampled of a band equals what is resampled of the whole page.
"""

from __future__ import annotations

from fractions import Fraction

from hptl_deploy.errors import MicrographError
from hptl_deploy.micrographs.base import Calibration

RESCALE = ("auto", "off")
"""What `--rescale` may be."""

TOLERANCE = 0.05
"""Pixel sizes that differ by no more than this share count as equal: nearer than that, resampling
costs about as much of a model's scores as it could repair (docs/segmenting.md)."""

MOST_ENLARGED = 4
"""Beyond it a micrograph shows none of the detail that the network looks for, and costs more than
sixteen times its own time and memory."""
MOST_REDUCED = 8
"""Beyond it, a pixel size is more likely wrong than a micrograph so fine."""

_MOST = 64


def ratio_of(
    calibration: Calibration, trained_um: float | None, rescale: str = "auto"
) -> Fraction | None:
    """Pixels that the network sees for one of the micrograph's, along a row; None: as it is.

    None where either pixel size is unknown, where they differ by `TOLERANCE` at most, or with
    `rescale` `off`. Else pixel size / `trained_um`, as a ratio of whole numbers up to 64, which
    is off by less than 0.9 %. Raises MicrographError for more than `MOST_ENLARGED` or less than
    1 / `MOST_REDUCED`: such a pixel size is wrong, or rescaling no help.
    """
    size = calibration.pixel_size_um
    if rescale == "off" or trained_um is None or size is None:
        return None
    factor = size / trained_um
    if max(factor, 1 / factor) <= 1 + TOLERANCE:
        return None
    if not 1 / MOST_REDUCED <= factor <= MOST_ENLARGED:
        times = f"{factor:.3g} times" if factor > 1 else f"1/{1 / factor:.3g} of"
        raise MicrographError(
            f"has a pixel size of {size:.4g} um ({calibration.source}), {times} the "
            f"{trained_um:.4g} um that the model learned from; what is rescaled lies between "
            f"1/{MOST_REDUCED} and {MOST_ENLARGED} times",
            hint="Check the pixel size (--pixel-size), or segment it as it is with --rescale off",
        )
    return nearest_ratio(factor)


def nearest_ratio(factor: float) -> Fraction:
    """The ratio of whole numbers from 1 to 64 that is nearest to `factor`, by quotient."""

    def off(ratio: Fraction) -> float:
        quotient = float(ratio) / factor
        return max(quotient, 1 / quotient)

    ratios = (
        Fraction(min(_MOST, max(1, round(factor * down))), down) for down in range(1, _MOST + 1)
    )
    return min(ratios, key=off)
