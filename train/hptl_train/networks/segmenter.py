"""A network with its input and output sides: what is trained is what is deployed."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from hptl_train.networks.deeplab import DeepLabV3Plus
from hptl_train.networks.fcn import FCN, STRIDE

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Per channel of RGB in [0, 1]: what published VGG-19 weights expect."""


class Normalise(nn.Module):
    """uint8 [N, H, W, 3] to float [N, 3, H, W], scaled to [0, 1], mean and deviation taken out."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, micrograph: Tensor) -> Tensor:
        """The normalised picture."""
        picture = micrograph.permute(0, 3, 1, 2).to(self.mean.dtype) / 255.0
        return (picture - self.mean) / self.std


class Enlarge(nn.Module):
    """Bilinear enlargement by an integer, [N, 3, H, W] to [N, 3, s H, s W].

    The same numbers as `interpolate(..., align_corners=False)`, but as a fixed 3x3 convolution
    per sub-pixel: an interpolation computes its places from pixel coordinates in floating
    point, so a tile would see slightly other weights than the whole frame.
    """

    kernel: Tensor

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        taps = torch.zeros(scale, 3)
        for place in range(scale):
            # The centre of sub-pixel `place`, in pixels from the centre of its pixel.
            offset = (place + 0.5) / scale - 0.5
            taps[place, 1] = 1 - abs(offset)
            taps[place, 0 if offset < 0 else 2] += abs(offset)
        kernel = torch.einsum("iy,jx->ijyx", taps, taps)  # [s, s, 3, 3]
        kernel = kernel.reshape(1, scale * scale, 1, 3, 3).expand(3, -1, -1, -1, -1)
        self.register_buffer("kernel", kernel.reshape(-1, 1, 3, 3).clone(), persistent=False)

    def forward(self, picture: Tensor) -> Tensor:
        """The enlarged picture; edges repeat."""
        framed = functional.pad(picture, (1, 1, 1, 1), mode="replicate")
        subpixels = functional.conv2d(framed, self.kernel, groups=3)  # [N, 3 s s, H, W]
        return functional.pixel_shuffle(subpixels, self.scale)


class Segmenter(nn.Module):
    """Micrograph in, logits out, both in the micrograph's own pixels.

    At an input scale s the picture is enlarged s times (bilinear) before the network and
    the logits are averaged over s x s blocks behind it.
    """

    def __init__(
        self,
        network: FCN | DeepLabV3Plus,
        input_scale: int = 1,
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.normalise = Normalise(mean, std)
        self.enlarge = Enlarge(input_scale) if input_scale > 1 else nn.Identity()
        self.network = network
        self.input_scale = input_scale

    def forward(self, micrograph: Tensor) -> Tensor:
        """Logits [N, K, H, W] of uint8 [N, H, W, 3]; H and W multiples of `stride_of(scale)`."""
        logits: Tensor = self.network(self.enlarge(self.normalise(micrograph)))
        if self.input_scale > 1:
            logits = functional.avg_pool2d(logits, self.input_scale)
        return logits


def stride_of(input_scale: int) -> int:
    """Micrograph pixels whose multiples, enlarged, are multiples of the network's 32."""
    return STRIDE // math.gcd(STRIDE, input_scale)
