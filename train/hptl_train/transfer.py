"""Parameter transfer: the named groups omega_t1, omega_t2, omega_t3 from one step to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from hptl_deploy.errors import RunError
from hptl_train.networks.layers import GROUPS, NETWORKS, TRUNK


@dataclass(frozen=True)
class TransferReport:
    """What came along, what is new and what stayed behind; parameter names, sorted by network."""

    group: str
    source: str
    copied: tuple[str, ...]
    new: tuple[str, ...]
    """In the target only: they keep their initial values."""
    left: tuple[str, ...]
    """In the source only, or outside the group."""
    copied_count: int
    """Numbers, not tensors."""

    def to_json(self) -> dict[str, Any]:
        """The form stored beside the step's weights."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in vars(self).items()}

    def lines(self) -> list[str]:
        """The report as it is printed."""
        return [
            f"{self.group} from {self.source}: {self.copied_count:,} parameters copied",
            f"  copied: {_layers(self.copied)}",
            f"  new:    {_layers(self.new)}",
            f"  left:   {_layers(self.left)}",
        ]


def transfer(
    source: Mapping[str, Tensor],
    source_step: str,
    source_network: str,
    target: nn.Module,
    target_network: str,
    group: str,
) -> TransferReport:
    """Copy the parameters of `group` from `source` into `target`, in place.

    `source` maps parameter names (`conv1_1.weight`) to tensors. Every name in it must
    belong to a layer of `source_network`, every layer of the group must be in both, and
    shapes must be equal: raises RunError otherwise, before anything is copied.
    """
    wanted = GROUPS[group]
    own = dict(target.named_parameters())
    problems = _unexplained(source, source_network, f"step {source_step}")
    problems += _unexplained(own, target_network, f"the new {target_network}")
    copied = [name for name in own if _layer(name) in wanted]
    absent = sorted(set(wanted) - {_layer(name) for name in copied})
    problems += [f"{target_network} has no layer {layer}, which {group} names" for layer in absent]
    for name in copied:
        if name not in source:
            problems.append(f"step {source_step} lacks {name}, which {group} names")
        elif source[name].shape != own[name].shape:
            problems.append(
                f"{name} is {list(source[name].shape)} in step {source_step} and "
                f"{list(own[name].shape)} in the new {target_network}"
            )
    if problems:
        raise RunError(f"transfer of {group} is not possible: {'; '.join(problems)}")
    with torch.no_grad():
        for name in copied:
            own[name].copy_(source[name])
    return TransferReport(
        group=group,
        source=source_step,
        copied=tuple(copied),
        new=tuple(name for name in own if name not in copied),
        left=tuple(name for name in source if name not in copied),
        copied_count=sum(own[name].numel() for name in copied),
    )


def _unexplained(parameters: Mapping[str, Any], network: str, where: str) -> list[str]:
    known = NETWORKS[network]
    return [
        f"{where} holds {name}, which is no parameter of {network}"
        for name in parameters
        if _layer(name) not in known or name.rpartition(".")[2] not in ("weight", "bias")
    ]


def _layer(parameter: str) -> str:
    return parameter.rpartition(".")[0]


def _layers(parameters: tuple[str, ...]) -> str:
    """Layer names; of more than two convolutions in a row, the first and the last."""
    names = list(dict.fromkeys(_layer(name) for name in parameters))
    place = {name: number for number, name in enumerate(TRUNK)}
    # Names in a row keep their distance to the numbers they are counted by.
    rows = groupby(enumerate(names), lambda item: place.get(item[1], item[0] - 1000) - item[0])
    shown = []
    for distance, row in rows:
        own = [name for _, name in row]
        long = len(own) > 2 and distance != -1000
        shown.append(f"{own[0]} ... {own[-1]}" if long else ", ".join(own))
    return ", ".join(shown) or "none"
