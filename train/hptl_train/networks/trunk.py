"""The trunk every network shares: 16 convolutions 3x3 in five blocks, each with a 2x2 pool.

Letters: N pictures, C channels, H rows, W columns, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hptl_train.networks.layers import CONVOLUTIONS, Sizes


class Trunk(nn.Module):
    """conv1_1 ... conv5_4 and pool1 ... pool5 of VGG-19."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        incoming = 3
        for names, channels in zip(CONVOLUTIONS, sizes.channels, strict=True):
            for name in names:
                self.add_module(name, nn.Conv2d(incoming, channels, kernel_size=3, padding=1))
                incoming = channels
        self.pool: nn.Module = nn.MaxPool2d(kernel_size=2, stride=2)

    def pools(self, picture: Tensor) -> list[Tensor]:
        """pool1 ... pool5 of a normalised picture [N, 3, H, W]: [N, C_b, H / 2^b, W / 2^b]."""
        outputs = []
        flow = picture
        for names in CONVOLUTIONS:
            for name in names:
                flow = torch.relu(self.get_submodule(name)(flow))
            flow = self.pool(flow)
            outputs.append(flow)
        return outputs
