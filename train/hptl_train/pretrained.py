"""Published VGG-19 weights in the place of step 1: a file read, checked and renamed.

What step 2 takes from it is omega_t1, so the file must hold that; what else it holds of VGG-19
comes along where it fits the recipe's sizes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hptl_deploy.errors import UsageError
from hptl_deploy.files import sha256_file
from hptl_train.networks.layers import GROUPS, NETWORKS, Sizes
from hptl_train.networks.vgg19 import VGG19
from hptl_train.pretrained_file import read_tensors
from hptl_train.pretrained_input import check_input, check_recipe
from hptl_train.pretrained_names import clean, layers_of, may_be_vgg16, our_names

_OMEGA_T1 = GROUPS["omega_t1"]
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_WORDS_OF_INPUT = re.compile(r"input|mean|std|normali|preprocess", re.IGNORECASE)
_NAMED = 6
"""Unknown tensors that the report names; the others it counts."""


@dataclass(frozen=True)
class Pretrained:
    """What a file gives for step 1."""

    name: str
    """Of the file, without its folder."""
    sha256: str
    """Of the file's bytes."""
    tensors: dict[str, Tensor]
    """float32 on the CPU, under our names (`conv1_1.weight`) in VGG-19's order: omega_t1, and
    what else of the file fits the recipe's sizes."""
    report: list[str]
    """What was taken, what was left and why, and what is known of the input; lines as printed."""

    @property
    def count(self) -> int:
        """Numbers, not tensors."""
        return sum(tensor.numel() for tensor in self.tensors.values())

    def to_json(self) -> dict[str, Any]:
        """The form for run.json."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "parameters": self.count,
            "layers": layers_of(list(self.tensors)),
            "report": self.report,
        }


def read_vgg19_weights(
    path: Path, sizes: Sizes, mean: Sequence[float], std: Sequence[float]
) -> Pretrained:
    """VGG-19's parameters from `path`, for networks of `sizes` behind `mean` and `std`.

    float16, bfloat16 and float64 become float32. Raises UsageError, one sentence, when the
    file cannot be read, is another network's, lacks a tensor of omega_t1, holds it in other
    shapes than those of `sizes`, in integers or in numbers that are not finite, or is known to be
    made for another input than RGB in [0, 1] with ImageNet's mean and std taken out.
    """
    where = f"VGG-19 weights {path}"
    check_recipe(mean, std)
    found, words = read_tensors(path)
    names = our_names(found, where)
    own = {name: found[theirs] for name, theirs in names.items()}
    fitting, left = _fitting(own, sizes, where)
    tensors = {name: _float32(name, tensor, where) for name, tensor in fitting.items()}
    sha256 = sha256_file(path)
    known = check_input(where, tensors, sha256)
    left["no layers of this VGG-19"] = _some([n for n in found if n not in names.values()])
    reasons = [f"{', '.join(layers)} ({reason})" for reason, layers in left.items() if layers]
    report = [
        f"VGG-19 from {path.name} (SHA-256 {sha256[:12]}): "
        f"{sum(tensor.numel() for tensor in tensors.values()):,} parameters taken",
        f"  taken: {', '.join(layers_of(list(tensors)))}",
        f"  left:  {'; '.join(reasons) or 'none'}",
    ]
    if others := sorted({_dtype(t) for t in fitting.values()} - {"float32"}):
        report.append(f"  dtype: {', '.join(others)}, converted to float32")
    if may_be_vgg16(names):
        report.append("  VGG-16 has the same layers so far: that these are VGG-19's is trusted")
    report.append(f"  input: {known}")
    report += _words_of_input(words)
    return Pretrained(path.name, sha256, tensors, report)


def _fitting(
    own: Mapping[str, Tensor], sizes: Sizes, where: str
) -> tuple[dict[str, Tensor], dict[str, list[str]]]:
    """(what fits the network of `sizes`, layers left out by reason).

    Raises UsageError when a tensor of omega_t1 does not fit.
    """
    scores = own.get("fc8.bias")
    with torch.device("meta"):
        network = VGG19(sizes, classes=1000 if scores is None else max(1, scores.numel()))
    shapes = {name: tuple(p.shape) for name, p in network.named_parameters()}
    fitting: dict[str, Tensor] = {}
    half, other = [], []
    for layer in NETWORKS["vgg19"]:
        pair = {name: own[name] for name in (f"{layer}.weight", f"{layer}.bias") if name in own}
        misfits = [name for name, tensor in pair.items() if tuple(tensor.shape) != shapes[name]]
        if misfits and layer in _OMEGA_T1:
            raise _misfit(misfits[0], own, shapes[misfits[0]], sizes, where)
        if len(pair) == 1:
            half.append(layer)
        elif misfits:
            other.append(layer)
        else:
            fitting |= pair
    return fitting, {"weight or bias missing": half, "other sizes than the recipe's": other}


def _misfit(
    name: str, own: Mapping[str, Tensor], expected: tuple[int, ...], sizes: Sizes, where: str
) -> UsageError:
    first, second = (own[f"{layer}.bias"].numel() for layer in ("conv1_1", "conv2_1"))
    incoming, outgoing = (3, first, first, second), (first, first, second, second)
    is_vgg = min(first, second) > 0 and all(
        own[f"{layer}.weight"].shape == (out, into, 3, 3) and own[f"{layer}.bias"].shape == (out,)
        for layer, into, out in zip(_OMEGA_T1, incoming, outgoing, strict=True)
    )
    channels = ", ".join(map(str, (first, second, *sizes.channels[2:])))
    return UsageError(
        f"{where}: {name} is {list(own[name].shape)} in the file and {list(expected)} in the "
        "recipe's network",
        hint=f"Set channels = [{channels}] in the recipe's [network], and leave --width out"
        if is_vgg
        else "Expected VGG-19's 3x3 convolutions, each taking what the one before it gives",
    )


def _float32(name: str, tensor: Tensor, where: str) -> Tensor:
    if tensor.dtype not in _FLOATS:
        raise UsageError(
            f"{where}: {name} is of {_dtype(tensor)}; expected float32, float16, bfloat16 or "
            "float64"
        )
    # A copy: the file's tensor may be a view of more, or mapped from the file.
    converted = tensor.detach().to(torch.float32, copy=True).contiguous()
    if not bool(torch.isfinite(converted).all()):
        raise UsageError(f"{where}: {name} holds numbers that are not finite in float32")
    return converted


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _some(names: Sequence[str]) -> list[str]:
    more = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return [clean(name) for name in names[:_NAMED]] + more


def _words_of_input(words: Mapping[str, str]) -> list[str]:
    said = [(key, text) for key, text in words.items() if _WORDS_OF_INPUT.search(key)]
    return [f"  the file says of {clean(key)}: {clean(text)}" for key, text in said]
