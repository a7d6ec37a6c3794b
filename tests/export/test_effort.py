from __future__ import annotations

import onnx
import pytest

from hptl_deploy.bench.work import operations
from hptl_export.effort import LOOK, operations_per_pixel, side_of_look
from support.exported import Exported


def test_a_look_costs_what_it_may() -> None:
    # The full-size network: 1.01e6 operations per pixel; 7e11 of them are 690 000 px, four
    # squares of 416 x 416.
    assert side_of_look(1.01e6, 32, 4, 256, 1536) == 416
    assert 4 * 416**2 * 1.01e6 <= LOOK < 4 * 448**2 * 1.01e6


@pytest.mark.parametrize(
    ("per_pixel", "side"), [(1e9, 256), (1e2, 1536)], ids=["at least", "at most"]
)
def test_bounds(per_pixel: float, side: int) -> None:
    assert side_of_look(per_pixel, 32, 1, 256, 1536) == side


def test_never_less_than_a_stride() -> None:
    assert side_of_look(1e9, 128, 4, 64, 384) == 128


def test_operations_per_pixel_hold_for_any_size(exported: Exported) -> None:
    """What a frame takes is counted in tests/deploy/bench; here, that pixels are all alike."""
    model = exported.model
    height, width = 5 * model.card.stride, 11 * model.card.stride
    found = operations_per_pixel(onnx.load(model.path), model.card.stride)
    assert found * height * width == pytest.approx(operations(model.path, height, width), rel=1e-9)
