"""VGG-19, the classifier of step 1 (Simonyan and Zisserman, 2015)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hptl_train.networks.layers import Sizes
from hptl_train.networks.trunk import Trunk

CLASSIFIER_SIDE = 224
"""Pixels; pool5 is then 7 x 7, which the first fully connected layer expects."""


class VGG19(Trunk):
    """The trunk and three fully connected layers: 24 layers as the paper counts."""

    def __init__(self, sizes: Sizes, classes: int, dropout: float = 0.5) -> None:
        super().__init__(sizes)
        self.fc6 = nn.Linear(sizes.channels[-1] * (CLASSIFIER_SIDE // 32) ** 2, sizes.fc)
        self.fc7 = nn.Linear(sizes.fc, sizes.fc)
        self.fc8 = nn.Linear(sizes.fc, classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, picture: Tensor) -> Tensor:
        """Logits [N, K] of a normalised picture [N, 3, 224, 224]."""
        flow = self.pools(picture)[-1].flatten(1)  # [N, C5 * 7 * 7]
        flow = self.dropout(torch.relu(self.fc6(flow)))
        flow = self.dropout(torch.relu(self.fc7(flow)))
        logits: Tensor = self.fc8(flow)
        return logits
