"""DeepLab V3+ (Chen et al., ECCV 2018) on ResNet-50, with the pyramid of v3 (arXiv 1706.05587).

    layer4 --+-- 1x1 ----------------+
     H/16    +-- 3x3, rate 6 --------+
             +-- 3x3, rate 12 -------+-- 1x1, dropout --x4--+
             +-- 3x3, rate 18 -------+     256, H/16        |
             +-- mean of all, 1x1 ---+                      +-- 3x3, 3x3, 1x1 --x4--> logits
    layer1 -- 1x1 to 48 ------------------------------------+      H/4
     H/4

Every convolution but the last is without bias, followed by batch normalisation and ReLU.

Bilinear enlargement takes pixels as squares (`align_corners=False`): then it is the same
everywhere in the frame, and by 4 its weights are odd eighths, exact in floating point. The
publications stretch corner to corner, which fits their crops of 513; on sides that are
multiples of 16 it would depend on the frame's size. The price is a constant shift: feature i
of a map of stride s is centred on pixel s i, and enlarged lies 3/8 s farther, s = 16 and 4.
The convolutions behind it learn that.

The mean over all features makes every logit depend on the whole picture. A tile therefore
does not say what the whole frame says, however wide its halo.

Memory in evaluation: on a CPU, fp32, the published sizes take about 440 bytes per pixel
(measured from 512 to 1024 pixels square) beside 0.16 GB of weights. For a frame of 2560 x 1920
that makes 2.2 GB.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from hptl_deploy.errors import RunError
from hptl_train.networks.deeplab_sizes import EXPANSION, DeepLabSizes
from hptl_train.networks.resnet import ResNet


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: features seen at several rates, and their mean."""

    def __init__(self, incoming: int, channels: int, rates: Sequence[int], dropout: float) -> None:
        super().__init__()
        branches = [_unit(incoming, channels, kernel=1)]
        branches += [_unit(incoming, channels, kernel=3, dilation=rate) for rate in rates]
        self.branches = nn.ModuleList(branches)
        self.image_pooling = _unit(incoming, channels, kernel=1)
        self.project = _unit((len(branches) + 1) * channels, channels, kernel=1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        """[N, channels, H, W] of [N, incoming, H, W]."""
        seen = [branch(features) for branch in self.branches]
        image = self.image_pooling(features.mean(dim=(2, 3), keepdim=True))  # [N, channels, 1, 1]
        # Interpolating a single value is repeating it.
        seen.append(image.expand_as(seen[0]))
        merged: Tensor = self.dropout(self.project(torch.cat(seen, dim=1)))
        return merged


class Decoder(nn.Module):
    """The pyramid's features, sharpened with those of the first stage."""

    def __init__(self, incoming: int, sizes: DeepLabSizes, classes: int) -> None:
        super().__init__()
        self.low_level = _unit(incoming, sizes.low_level, kernel=1)
        self.refine = nn.Sequential(
            _unit(sizes.aspp + sizes.low_level, sizes.decoder, kernel=3),
            _unit(sizes.decoder, sizes.decoder, kernel=3),
        )
        self.classifier = nn.Conv2d(sizes.decoder, classes, kernel_size=1)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """Logits [N, K, 4h, 4w] of `low_level`'s [N, 48, h, w] and ASPP's [N, 256, h/4, w/4]."""
        flow = self.refine(torch.cat([_enlarged(high), low], dim=1))  # [N, 256, h, w]
        return _enlarged(self.classifier(flow))


class DeepLabV3Plus(ResNet):
    """Encoder, pyramid and decoder; the encoder's layers lie at the top, as in ResNet-50."""

    kind = "deeplabv3plus"

    def __init__(self, sizes: DeepLabSizes, classes: int, dropout: float = 0.5) -> None:
        super().__init__(sizes)
        self.aspp = ASPP(EXPANSION * sizes.widths[3], sizes.aspp, sizes.rates, dropout)
        self.decoder = Decoder(EXPANSION * sizes.widths[0], sizes, classes)

    def forward(self, picture: Tensor) -> Tensor:
        """Logits [N, K, H, W] of a normalised picture [N, 3, H, W], H and W multiples of 16.

        Raises RunError in training mode for a single picture. With two, image pooling's
        normalised values are plus or minus 1 whatever the pictures show; the publications
        train on 16.
        """
        if self.training and len(picture) == 1:
            raise RunError(
                f"{self.kind}: a training batch holds 1 picture, expected at least 2, because "
                "image pooling leaves one value per picture and channel, and batch "
                "normalisation cannot take a deviation from one value",
                hint="Raise the step's batch in its recipe",
            )
        flow = self.layer1(self.stem(picture))  # [N, 256, H/4, W/4]
        # Reduced at once: the largest map need not be kept until the decoder.
        low = self.decoder.low_level(flow)  # [N, 48, H/4, W/4]
        for stage in (self.layer2, self.layer3, self.layer4):
            flow = stage(flow)  # [N, 512, H/8, W/8], then 1024 and 2048 at H/16
        logits: Tensor = self.decoder(low, self.aspp(flow))
        return logits


def _unit(incoming: int, channels: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    """A convolution that keeps the size, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(
            incoming,
            channels,
            kernel_size=kernel,
            padding=kernel // 2 * dilation,
            dilation=dilation,
            bias=False,
        ),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    )


def _enlarged(features: Tensor) -> Tensor:
    return functional.interpolate(
        features, scale_factor=4, mode="bilinear", align_corners=False
    )  # [N, C, 4H, 4W]
