"""How much memory a training step will take, worked out before it starts."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import psutil
import torch
from torch import Tensor, nn

from hptl_train.recipe import OptimiserTable

_BYTES = 4
"""Of a weight, a gradient, and each number an optimiser keeps for it: fp32 in any precision."""
_KEPT = {"sgd": 1, "adam": 2}
"""Numbers that an optimiser keeps for each weight: momentum; first and second moment."""


_TRIED = 2
"""Pictures of the trial: batch normalisation wants more than one."""


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes of one process in one step."""

    parameters: int
    """Weights, gradients and what the optimiser keeps."""
    activations: int
    """What the forward pass keeps for the backward pass, for the whole batch."""

    @property
    def total(self) -> int:
        """Both; convolutions take some working memory on top."""
        return self.parameters + self.activations

    def line(self, pictures: int, free: int) -> str:
        """As it is printed; `free` bytes are free now."""
        warning = "" if self.total < free else " - MORE THAN IS FREE"
        return (
            f"memory: about {_size(self.total)} ({_size(self.parameters)} for weights, gradients "
            f"and optimiser, {_size(self.activations)} for {pictures} pictures), "
            f"{_size(free)} are free{warning}"
        )


def training_memory(
    module: nn.Module, optimiser: OptimiserTable, pictures: int, side: int, precision: str
) -> TrainingMemory:
    """Memory of a step whose batches are `pictures` uint8 pictures of `side` px.

    Activations are counted: every tensor that the forward pass of two pictures saves for the
    backward pass is added up once, and grows with their number.
    """
    # A copy, because batch normalisation would remember the two pictures.
    shadow = copy.deepcopy(module).train()
    device = next(shadow.parameters()).device
    parameters = sum(parameter.numel() for parameter in shadow.parameters())
    own = {parameter.data_ptr() for parameter in shadow.parameters()}
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    batch = torch.zeros(_TRIED, side, side, 3, dtype=torch.uint8, device=device)
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    with (
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        torch.autocast(device.type, dtype=dtype, enabled=precision != "fp32"),
    ):
        # Held until all is counted, so that no address comes twice.
        logits = shadow(batch)
        activations = sum(saved.values()) + logits.nbytes
    return TrainingMemory(
        parameters=parameters * _BYTES * (2 + _KEPT[optimiser.name]),
        activations=activations * pictures // _TRIED,
    )


def free_memory(device: torch.device) -> int:
    """Bytes free on `device` now: the card's, or the machine's."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GB" if count >= 2**30 else f"{count / 2**20:.0f} MB"
