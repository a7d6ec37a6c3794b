"""Sums over windows against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from hptl_deploy.windows import window_sums


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 5), (9, 11)])
def test_every_window_is_summed(rows: int, columns: int) -> None:
    values = np.random.default_rng(0).integers(0, 200, (9, 11)).astype(np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(values, (rows, columns))
    assert np.array_equal(window_sums(values, rows, columns), windows.sum((2, 3), dtype=np.int64))


def test_a_mask_is_counted() -> None:
    mask = np.zeros((4, 4), bool)
    mask[1:3, 1:3] = True
    assert window_sums(mask, 4, 4).tolist() == [[4.0]]
