"""ResNet with bottleneck blocks as an encoder of output stride 16 (He et al., CVPR 2016).

    picture --7x7/2, pool 3x3/2--> layer1 --> layer2 --> layer3 --> layer4
              stem, H/4            H/4        H/8        H/16       H/16, dilated

Two things are a choice between published variants:

- A stage that halves does so in the 3x3 convolution of its first block, not in the 1x1
  before it ("v1.5"): a strided 1x1 never looks at three quarters of its input. The
  parameters are the same.
- The last stage does not halve. Its 3x3 convolutions are dilated by 2 instead, times the
  unit rates of DeepLab v3's multi-grid (arXiv 1706.05587, section 3.2.1): 2 (1, 2, 4) =
  2, 4, 8. DeepLab V3+ takes that encoder over for ResNet: its table 3 starts from v3's
  77.21 %, which is the row with multi-grid (1, 2, 4); it leaves multi-grid out for Xception
  alone.

Parameters have the names in common use (`conv1`, `bn1`, `layer1.0.conv1`, ...,
`layer1.0.downsample.0`). Batch normalisation keeps torch's constants (eps 1e-5, momentum 0.1).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hptl_train.networks.deeplab_sizes import EXPANSION, DeepLabSizes

_LAST_RATE = 2
"""Dilation that stands for the last stage's missing stride."""


class Shortcut(nn.Conv2d):
    """A 1x1 convolution of every `step`-th pixel, without bias.

    The same numbers as a strided convolution's, which is not used: with fewer input channels
    than its vectors hold, oneDNN's strided 1x1 writes past its buffer in the backward pass
    (uxlfoundation/oneDNN issue 6035, seen with torch 2.13.0 on AVX-512).
    """

    def __init__(self, incoming: int, outgoing: int, step: int) -> None:
        super().__init__(incoming, outgoing, kernel_size=1, bias=False)
        self.step = step

    def forward(self, features: Tensor) -> Tensor:
        """[N, outgoing, H / step, W / step], rounded up, of [N, incoming, H, W]."""
        return super().forward(features[:, :, :: self.step, :: self.step])


class Bottleneck(nn.Module):
    """1x1 down to `width`, 3x3, 1x1 up to `EXPANSION * width`, added to the shortcut."""

    def __init__(self, incoming: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        outgoing = EXPANSION * width
        self.conv1 = nn.Conv2d(incoming, width, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(
            width,
            width,
            kernel_size=3,
            stride=stride,
            padding=dilation,
            dilation=dilation,
            bias=False,
        )
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outgoing, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(outgoing)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or incoming != outgoing:
            self.downsample = nn.Sequential(
                Shortcut(incoming, outgoing, stride),
                nn.BatchNorm2d(outgoing),
            )

    def forward(self, features: Tensor) -> Tensor:
        """[N, 4 width, H / stride, W / stride] of [N, incoming, H, W]."""
        flow = torch.relu(self.bn1(self.conv1(features)))
        flow = torch.relu(self.bn2(self.conv2(flow)))
        return torch.relu(self.bn3(self.conv3(flow)) + self.downsample(features))


class ResNet(nn.Module):
    """The encoder: a stem and four stages, without the classifier."""

    def __init__(self, sizes: DeepLabSizes) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, sizes.stem, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(sizes.stem)
        self.maxpool: nn.Module = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        first, second, third, fourth = sizes.widths
        dilations = [[1] * count for count in sizes.blocks[:3]]
        dilations.append([_LAST_RATE * unit for unit in sizes.multi_grid])
        self.layer1 = _stage(sizes.stem, first, 1, dilations[0])
        self.layer2 = _stage(EXPANSION * first, second, 2, dilations[1])
        self.layer3 = _stage(EXPANSION * second, third, 2, dilations[2])
        self.layer4 = _stage(EXPANSION * third, fourth, 1, dilations[3])

    def stem(self, picture: Tensor) -> Tensor:
        """[N, stem, H/4, W/4] of a normalised picture [N, 3, H, W]."""
        pooled: Tensor = self.maxpool(torch.relu(self.bn1(self.conv1(picture))))
        return pooled


def _stage(incoming: int, width: int, stride: int, dilations: Sequence[int]) -> nn.Sequential:
    blocks = [Bottleneck(incoming, width, stride, dilations[0])]
    blocks += [Bottleneck(EXPANSION * width, width, 1, dilation) for dilation in dilations[1:]]
    return nn.Sequential(*blocks)
