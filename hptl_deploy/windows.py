"""Sums over every window of a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def window_sums(values: NDArray[np.generic], rows: int, columns: int) -> NDArray[np.float64]:
    """The sum of `values` [H, W] in every window of `rows` x `columns`, by its upper left corner.

    float64 [H - rows + 1, W - columns + 1], which holds counts of pixels exactly.
    """
    # From the sums over everything above and left of a pixel (Crow 1984).
    total = values.cumsum(0, dtype=np.float64).cumsum(1)
    table: NDArray[np.float64] = np.pad(total, ((1, 0), (1, 0)))
    return (
        table[rows:, columns:]
        - table[:-rows, columns:]
        - table[rows:, :-columns]
        + table[:-rows, :-columns]
    )
