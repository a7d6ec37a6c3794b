"""FCN-32s, FCN-16s and FCN-8s (Long, Shelhamer and Darrell, CVPR 2015).

The three differ in how many skips they add: none, pool4, pool4 and pool3.

    pool5 -> fc6 -> fc7 -> score_fr --upscore2--> (+) --upscore_pool4--> (+) --upscore8-->
    pool4 -> score_pool4 --------------------------^                      ^
    pool3 -> score_pool3 -------------------------------------------------+

A deconvolution that doubles has kernel 4, stride 2, padding 1; in general kernel 2s,
stride s, padding s / 2, so sizes come out exact and the original's padding by 100 is
not needed. fc6 is 7x7 with padding 3 for the same reason.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hptl_train.networks.layers import NETWORKS, Sizes
from hptl_train.networks.trunk import Trunk

STRIDE = 32
"""H and W of a network's input must be multiples of this: five pools by 2."""


class FCN(Trunk):
    """One of the three, by its key: `fcn32s`, `fcn16s` or `fcn8s`."""

    def __init__(self, kind: str, sizes: Sizes, classes: int, dropout: float = 0.5) -> None:
        super().__init__(sizes)
        layers = NETWORKS[kind]
        self.kind = kind
        self.fc6 = nn.Conv2d(sizes.channels[4], sizes.fc, kernel_size=7, padding=3)
        self.fc7 = nn.Conv2d(sizes.fc, sizes.fc, kernel_size=1)
        self.score_fr = nn.Conv2d(sizes.fc, classes, kernel_size=1)
        self.dropout = nn.Dropout(dropout)
        self.skips = "score_pool4" in layers, "score_pool3" in layers
        if self.skips[0]:
            self.upscore2 = _deconvolution(classes, 2)
            self.score_pool4 = nn.Conv2d(sizes.channels[3], classes, kernel_size=1)
        if self.skips[1]:
            self.upscore_pool4 = _deconvolution(classes, 2)
            self.score_pool3 = nn.Conv2d(sizes.channels[2], classes, kernel_size=1)
        self.last = layers[-1]
        self.add_module(self.last, _deconvolution(classes, int(self.last.removeprefix("upscore"))))

    def forward(self, picture: Tensor) -> Tensor:
        """Logits [N, K, H, W] of a normalised picture [N, 3, H, W], H and W multiples of 32."""
        _, _, pool3, pool4, pool5 = self.pools(picture)
        flow = self.dropout(torch.relu(self.fc6(pool5)))  # [N, fc, H/32, W/32]
        flow = self.dropout(torch.relu(self.fc7(flow)))
        score = self.score_fr(flow)  # [N, K, H/32, W/32]
        if self.skips[0]:
            score = self.upscore2(score) + self.score_pool4(pool4)  # [N, K, H/16, W/16]
        if self.skips[1]:
            score = self.upscore_pool4(score) + self.score_pool3(pool3)  # [N, K, H/8, W/8]
        logits: Tensor = self.get_submodule(self.last)(score)
        return logits


def _deconvolution(classes: int, factor: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(
        classes, classes, kernel_size=2 * factor, stride=factor, padding=factor // 2, bias=False
    )
