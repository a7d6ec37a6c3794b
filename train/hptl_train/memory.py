"""How much memory a training step will take, worked out before it starts."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import torch
from torch import Tensor, nn

from hptl_deploy.errors import EnvironmentLacks
from hptl_train.recipe import OptimiserTable, StepTable

_BYTES = 4
"""Of a weight, a gradient, and each number an optimiser keeps for it: fp32 in any precision."""
_KEPT = {"sgd": 1, "adam": 2}
"""Numbers that an optimiser keeps for each weight: momentum; first and second moment."""
_TRIED = (2, 4)
"""Pictures of the trials: batch normalisation wants more than one."""


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes of one process in one step."""

    parameters: int
    """Weights, gradients and what the optimiser keeps."""
    activations: int
    """What the forward pass keeps for the backward pass, for the whole batch; in half precision
    a copy of the weights, too."""

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

    Activations are counted: every tensor that a forward pass saves for the backward pass is
    added up once. Beyond four pictures, passes of two and of four tell what each one adds.
    """
    # A copy, because batch normalisation would remember the pictures.
    shadow = copy.deepcopy(module).train()
    few, more = _TRIED
    if pictures <= more:
        activations = _kept(shadow, pictures, side, precision)
    else:
        first, second = (_kept(shadow, count, side, precision) for count in _TRIED)
        activations = second + (second - first) * (pictures - more) // (more - few)
    parameters = sum(parameter.numel() for parameter in shadow.parameters())
    return TrainingMemory(
        parameters=parameters * _BYTES * (2 + _KEPT[optimiser.name]), activations=activations
    )


def _kept(module: nn.Module, pictures: int, side: int, precision: str) -> int:
    """Bytes that a forward pass of `pictures` keeps, beside the parameters; its logits included."""
    device = next(module.parameters()).device
    own = {parameter.data_ptr() for parameter in module.parameters()}
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    batch = torch.zeros(pictures, side, side, 3, dtype=torch.uint8, device=device)
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    with (
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        torch.autocast(device.type, dtype=dtype, enabled=precision != "fp32"),
    ):
        # Held until all is counted, so that no address comes twice.
        logits: Tensor = module(batch)
        return sum(saved.values()) + logits.nbytes


def free_memory(device: torch.device) -> int:
    """Bytes free on `device` now: the card's, or the machine's."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


@contextmanager
def memory_said(step: StepTable) -> Iterator[None]:
    """Turn a lack of memory, the card's or the machine's, into a sentence: EnvironmentLacks."""
    try:
        yield
    except (MemoryError, RuntimeError) as exc:
        if not _is_out_of_memory(exc):
            raise
        raise EnvironmentLacks(
            f"step {step.name}: the device has too little memory for batches of {step.batch}",
            hint="Start a new run with a smaller --batch or --width",
        ) from exc


def _is_out_of_memory(exc: Exception) -> bool:
    """Whether `exc` says that memory ran out; torch's own for the CPU is a plain RuntimeError."""
    return isinstance(exc, MemoryError | torch.OutOfMemoryError) or (
        isinstance(exc, RuntimeError) and "DefaultCPUAllocator: " in str(exc)
    )


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GB" if count >= 2**30 else f"{count / 2**20:.0f} MB"
