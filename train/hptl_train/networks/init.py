"""What a network starts from: He-normal, bilinear, zero, each by its recipe's word."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SKIP_SCORES = ("score_pool4", "score_pool3")


def initialise(network: nn.Module, convolution: str, deconvolution: str, skip_score: str) -> None:
    """Set every parameter of `network` from torch's current random state.

    `convolution` is `he-normal`; `deconvolution` is `bilinear` or `he-normal`;
    `skip_score` is `zero` or `he-normal`. Biases start at zero.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.ConvTranspose2d):
            _fill(module.weight, deconvolution, module.stride[0])
        elif isinstance(module, nn.Conv2d | nn.Linear):
            _fill(module.weight, skip_score if name in SKIP_SCORES else convolution)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _fill(weight: Tensor, kind: str, stride: int = 1) -> None:
    if kind == "zero":
        nn.init.zeros_(weight)
    elif kind == "bilinear":
        with torch.no_grad():
            weight.copy_(bilinear_kernel(weight.shape[0], stride))
    elif kind == "he-normal":
        # He et al. 2015: without normalisation layers a 19-layer rectified network needs
        # a variance of 2 / fan-in to pass signals at all.
        nn.init.kaiming_normal_(weight, nonlinearity="relu")
    else:
        raise ValueError(f"unknown initialisation {kind!r}")


def bilinear_kernel(classes: int, factor: int) -> Tensor:
    """Weights [K, K, 2s, 2s] with which a deconvolution of stride s interpolates bilinearly.

    Along one axis 1 - |x - (s - 1/2)| / s for x = 0 ... 2s - 1 (Long et al., section 3.3);
    classes do not mix.
    """
    place = torch.arange(2 * factor, dtype=torch.float32)
    ramp = 1 - (place - (factor - 0.5)).abs() / factor
    kernel = torch.zeros(classes, classes, 2 * factor, 2 * factor)
    kernel[range(classes), range(classes)] = torch.outer(ramp, ramp)
    return kernel
