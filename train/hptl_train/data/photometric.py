"""Other photographs of a batch of crops: light, lens, exposure, noise and JPEG, with torch.

On whichever device the pictures lie: on the training's GPU, or on the CPU in the threads that
make batches (`applied`). What is done to a crop depends on its `Photometry` and on nothing
else in its batch. Only the noise is drawn here, from each crop's own seed; a GPU draws other
numbers from a seed than the CPU, and rounds differently, so runs repeat on the same kind
of device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hptl_train.data.augment import JPEG_BLOCK, NO_JPEG, Photometry

if TYPE_CHECKING:
    from hptl_train.data.batches import Batch, Batches
    from hptl_train.recipe import AugmentationTable

_LEAST_SIGMA = 1e-3
"""px: a Gaussian of this width has one weight that is not 0; one of width 0 has none."""
_GRAIN_REACH = 2
"""px to which noise is correlated: 2.5 deviations of its coarsest grain."""


class Photometric(nn.Module):
    """The photometric part of a recipe's augmentation; it has no parameters to train.

    Values are those of the file, scaled to [0, 1], not linear light. Stages whose amount in
    the table is 0 do not run.
    """

    def __init__(self, table: AugmentationTable) -> None:
        super().__init__()
        self._table = table
        # The table's and not the batch's, or a crop would depend on its company.
        self._blur_taps = 2 * math.ceil(3 * table.blur) + 1

    @torch.no_grad()
    def forward(self, pictures: Tensor, photometry: Sequence[Photometry]) -> Tensor:
        """uint8 [N, S, S, 3] of uint8 `pictures` [N, S, S, 3], one `photometry` each."""
        from kornia.filters import gaussian_blur2d

        table, side, device = self._table, pictures.shape[1], pictures.device
        values = pictures.permute(0, 3, 1, 2).contiguous() / 255  # [N, 3, S, S]
        if table.illumination:
            values *= _light(side, photometry, device)
        if table.blur:
            # What tells the library about amounts stays on the CPU: it looks at them, which
            # would wait for the GPU.
            sigma = torch.tensor([[max(one.blur, _LEAST_SIGMA)] * 2 for one in photometry])
            values = gaussian_blur2d(values, self._blur_taps, sigma)
        if table.exposure:
            gain = _column([one.gain for one in photometry], device)
            gamma = _column([one.gamma for one in photometry], device)
            values = (values * gain).clamp_(0, 1) ** gamma
        if table.noise:
            values += _noise(side, photometry, device)
        values = values.permute(0, 2, 3, 1).clamp_(0, 1) * 255  # [N, S, S, 3]
        if table.jpeg < NO_JPEG:
            _store(values, photometry)
        return values.round_().to(torch.uint8).contiguous()


def applied(batches: Batches, photometric: Photometric) -> Batches:
    """`batches` with nothing left to be done to them: `photometric` runs where they are made."""

    def finished(iteration: int) -> Batch:
        batch = batches(iteration)
        if batch.photometry is None:
            return batch
        pictures: Tensor = photometric(torch.from_numpy(batch.pictures), batch.photometry)
        return replace(batch, pictures=pictures.numpy(), photometry=None)

    return finished


def _light(side: int, photometry: Sequence[Photometry], device: torch.device) -> Tensor:
    """What light the fall-off and the tilt leave, as a factor, [N, 1, S, S]."""
    drawn = torch.tensor([(*one.centre, *one.tilt, one.fall_off) for one in photometry])
    # [N, 1] each
    centre_y, centre_x, down, right, fall_off = drawn.to(device)[..., None].unbind(1)
    places = (torch.arange(side, device=device) + 0.5) / side - 0.5
    rows, columns = (places - centre_y) ** 2, (places - centre_x) ** 2  # [N, S]
    least = rows.amin(1) + columns.amin(1)
    most = rows.amax(1) + columns.amax(1)
    share = fall_off[:, 0] / (most - least)  # [N]
    lost = rows[:, :, None] + columns[:, None, :] - least[:, None, None]
    tilted = 1 + (down * places)[:, :, None] + (right * places)[:, None, :]
    return (tilted * (1 - share[:, None, None] * lost))[:, None]


def _noise(side: int, photometry: Sequence[Photometry], device: torch.device) -> Tensor:
    """Noise of each crop's deviation, grain and colour, [N, 3, S, S]."""
    from kornia.filters import filter2d_separable, get_gaussian_kernel1d

    drawing = torch.Generator(device)
    reach = side + 2 * _GRAIN_REACH  # wider than the crop, so that its border is as noisy
    fields = torch.stack(
        [
            torch.randn(
                (4, reach, reach), generator=drawing.manual_seed(one.noise_seed), device=device
            )
            for one in photometry
        ]
    )
    colour = _column([one.colour for one in photometry], device)
    fields = (1 - colour).sqrt() * fields[:, :1] + colour.sqrt() * fields[:, 1:]
    sigma = _column([max(one.grain, _LEAST_SIGMA) for one in photometry], device)[:, :, 0, 0]
    weights = get_gaussian_kernel1d(2 * _GRAIN_REACH + 1, sigma)  # [N, 5]
    # Independent numbers of deviation 1, averaged by weights along two axes, deviate by the
    # sum of the squared weights.
    strength = _column([one.noise for one in photometry], device)
    strength = strength / (weights**2).sum(1)[:, None, None, None]
    return strength * filter2d_separable(fields, weights, weights, padding="valid")


def _store(values: Tensor, photometry: Sequence[Photometry]) -> None:
    """Replace those of `values` [N, S, S, 3], in [0, 255], that are stored as JPEG.

    The codec halves the resolution of colour, as most cameras do.
    """
    from kornia.enhance import jpeg_codec_differentiable

    stored = [number for number, one in enumerate(photometry) if one.quality < NO_JPEG]
    if not stored:
        return
    side, device = values.shape[1], values.device
    grid = torch.tensor([photometry[number].grid for number in stored], device=device)
    quality = torch.tensor([float(photometry[number].quality) for number in stored])
    crops = torch.tensor(stored, device=device)[:, None, None]
    # Each is laid into the grid at its own place, its edge repeated round it.
    laid = torch.arange(side + JPEG_BLOCK - 1, device=device)
    rows, columns = ((laid - start[:, None]).clamp_(0, side - 1) for start in grid.T)
    canvas = values[crops, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    coded = jpeg_codec_differentiable(canvas / 255, quality).permute(0, 2, 3, 1) * 255
    rows, columns = (torch.arange(side, device=device) + start[:, None] for start in grid.T)
    places = torch.arange(len(stored), device=device)[:, None, None]
    values[crops[:, 0, 0]] = coded[places, rows[:, :, None], columns[:, None, :]].clamp_(0, 255)


def _column(numbers: Sequence[float], device: torch.device) -> Tensor:
    """One number per crop, to be spread over it: [N, 1, 1, 1]."""
    return torch.tensor(numbers, device=device)[:, None, None, None]
