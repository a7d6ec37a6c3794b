"""The derived reach against the network itself."""

from __future__ import annotations

import pytest
import torch

from hptl_export.halo import _logits, _positive_twin, measured_reach
from hptl_train.networks.reach import halo, reach
from hptl_train.networks.segmenter import stride_of
from support.tiny import segmenter


def test_known_values() -> None:
    assert reach("fcn8s") == 273
    assert halo("fcn8s") == 288
    assert [halo("fcn8s", scale) for scale in (2, 3, 4)] == [144, 96, 72]


@pytest.mark.parametrize("kind", ["fcn32s", "fcn16s", "fcn8s"])
def test_derivation_equals_measurement_at_scale_4(kind: str) -> None:
    assert measured_reach(kind, 4) == reach(kind, 4)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_derivation_equals_measurement(scale: int) -> None:
    assert measured_reach("fcn8s", scale) == reach("fcn8s", scale)


def test_a_strip_feels_as_far_as_the_whole_picture() -> None:
    """The measurement follows rows and columns back in strips; here, pixels in a full picture."""
    scale, far = 4, measured_reach("fcn8s", 4)
    stride = stride_of(scale)
    twin, margin = _positive_twin("fcn8s", scale), (far // stride + 2) * stride
    side = 2 * margin + stride
    picture = torch.ones(1, 3, side, side, requires_grad=True)
    logits = _logits(twin, picture, scale)[0, 0]
    farthest = 0
    for place in range(margin, margin + stride):
        (gradient,) = torch.autograd.grad(logits[place, place], picture, retain_graph=True)
        for axis in (0, 1):
            felt = (gradient[0, 0] != 0).any(1 - axis).nonzero()
            farthest = max(farthest, place - int(felt[0]), int(felt[-1]) - place)
    assert farthest == far


def test_real_weights_never_look_beyond_the_reach() -> None:
    """Gradients of single pixels, real weights and max-pools: inside the reach, near its end."""
    scale, far = 4, reach("fcn8s", 4)
    model = segmenter(input_scale=scale).double()
    stride = stride_of(scale)
    side = 2 * (far // stride + 2) * stride
    picture = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    model.normalise = torch.nn.Identity()  # type: ignore[assignment]
    logits = model(picture)
    widest = 0
    for place in range(side // 2, side // 2 + stride):
        (gradient,) = torch.autograd.grad(
            logits[0, :, place, place].sum(), picture, retain_graph=True
        )
        rows = gradient[0].abs().sum((0, 2)).nonzero()
        widest = max(widest, place - int(rows[0]), int(rows[-1]) - place)
    assert far // 2 < widest <= far
