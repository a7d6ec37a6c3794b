"""Samples of any depth and kind to RGB uint8, by look-up table.

A sample v of b significant bits becomes round(v * 255 / (2**b - 1)), whatever the
other pixels hold: the same grey is the same grey in every field of view. (There are
no ties: the divisor is odd.) A sample above its declared range is white.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLOURS = 3
"""R, G and B."""

_SAMPLES_AT_ONCE = 2**16


def scaling_table(
    stored_bits: int, significant_bits: int, *, inverted: bool = False
) -> NDArray[np.uint8]:
    """Grey levels uint8 [2**stored_bits] for every stored sample.

    `significant_bits` is the depth the samples use; with `inverted` zero is white.
    """
    largest = 2**significant_bits - 1
    samples = np.minimum(np.arange(2**stored_bits, dtype=np.int64), largest)
    # Integers throughout: (2 v 255 + n) // 2 n is round(v 255 / n) for every odd n.
    levels = ((2 * 255 * samples + largest) // (2 * largest)).astype(np.uint8)
    return np.asarray(255 - levels, dtype=np.uint8) if inverted else levels


def palette_table(colours: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """RGB uint8 [entries, 3] of a TIFF colour map uint16 [3, entries].

    Colour maps hold 16 bits. Many programs shift 8-bit values up instead of scaling
    them (white is 65280), old ones stored them as they are.
    """
    if int(colours.max(initial=0)) <= 255:
        levels = colours.astype(np.uint8)
    elif not (colours & 255).any():
        levels = (colours >> 8).astype(np.uint8)
    else:
        levels = scaling_table(16, 16)[colours]
    return np.ascontiguousarray(levels.T)


def look_up(
    table: NDArray[np.uint8], samples: NDArray[np.bool_ | np.unsignedinteger[Any]]
) -> NDArray[np.uint8]:
    """`table[samples]` for unsigned or boolean samples of any shape.

    Raises IndexError for samples beyond the table.
    """
    # A boolean array would select entries instead of looking them up.
    indices = samples.view(np.uint8) if samples.dtype == np.bool_ else samples
    levels = np.empty((*samples.shape, *table.shape[1:]), np.uint8)
    # numpy makes 8-byte indices of all it is given at once: a little at a time stays in the
    # processor's cache, and a large strip's memory what it should be.
    step = max(1, _SAMPLES_AT_ONCE * len(indices) // max(1, indices.size))
    for at in range(0, len(indices), step):
        levels[at : at + step] = np.take(table, indices[at : at + step], axis=0)
    return levels


def to_rgb(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] from grey [H, W], grey and alpha [H, W, 2], RGB or RGBA [H, W, 3 or 4].

    Grey is repeated, alpha is dropped; the result is a new array.
    """
    if levels.ndim == 2:
        levels = levels[..., np.newaxis]
    if levels.shape[2] < COLOURS:
        return np.repeat(levels[..., :1], COLOURS, axis=2)
    return np.array(levels[..., :COLOURS], dtype=np.uint8, order="C")
