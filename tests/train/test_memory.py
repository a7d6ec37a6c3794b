"""What a step says it will take is what it takes."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hptl_deploy.errors import EnvironmentLacks
from hptl_train.building import build
from hptl_train.memory import TrainingMemory, memory_said, training_memory
from hptl_train.networks.segmenter import Normalise
from hptl_train.objective import make_optimiser
from support.tiny import recipe


class Small(nn.Module):
    """Two layers whose kept tensors can be counted by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise = Normalise((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        self.first = nn.Conv2d(3, 5, 3, padding=1)
        self.second = nn.Conv2d(5, 2, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits [N, 2, H, W]."""
        out: Tensor = self.second(torch.relu(self.first(self.normalise(pictures))))
        return out


def test_kept_tensors_are_counted_once() -> None:
    pixels = 6 * 32 * 32
    step = recipe().steps[-1]
    found = training_memory(Small(), step.optimiser, 6, 32, "fp32")
    # The first convolution keeps its input (3 channels), the rectifier and the second
    # convolution share one map of 5, and the logits are 2.
    assert found.activations == pixels * (3 + 5 + 2) * 4
    # Weights, gradients, Adam's two moments.
    assert found.parameters == (3 * 5 * 9 + 5 + 5 * 2 + 2) * 4 * 4
    assert training_memory(Small(), recipe().steps[0].optimiser, 6, 32, "fp32").parameters == (
        found.parameters * 3 // 4  # momentum alone
    )


@pytest.mark.parametrize("pictures", [1, 2, 3, 6])
def test_in_half_precision_the_copies_of_the_weights_are_counted_once(pictures: int) -> None:
    found = training_memory(Small(), recipe().steps[-1].optimiser, pictures, 32, "bf16")
    # The same tensors in two bytes, and a copy of both convolutions' weights.
    assert found.activations == pictures * 32 * 32 * (3 + 5 + 2) * 2 + (3 * 5 * 9 + 5 * 2) * 2


@pytest.mark.parametrize("place", [0, 3])
def test_the_optimiser_keeps_what_is_counted(place: int) -> None:
    chain = recipe()
    step = chain.steps[place]
    module = build(chain, step, 3)
    before = copy.deepcopy(module.state_dict())
    said = training_memory(module, step.optimiser, 2, 224 if place == 0 else 64, "fp32")
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])  # asking changes nothing
    optimiser = make_optimiser(module, step.optimiser)
    side = 224 if place == 0 else 64
    module(torch.zeros(2, side, side, 3, dtype=torch.uint8)).sum().backward()
    optimiser.step()
    own = [p for p in module.parameters() if p.grad is not None]
    held = sum(2 * p.nbytes for p in own)
    held += sum(
        value.nbytes
        for state in optimiser.state.values()
        for value in state.values()
        if isinstance(value, Tensor) and value.ndim
    )
    assert said.parameters == held


def test_a_lack_of_memory_is_said_whoever_finds_it() -> None:
    step = recipe().steps[1]
    sentence = (
        "step fcn32s: the device has too little memory for batches of 2. Start a new run with a "
        "smaller --batch or --width"
    )
    too_large = 1 << 51  # bytes: more than a processor can address
    for allocate in (torch.empty, np.empty):
        with pytest.raises(EnvironmentLacks) as raised, memory_said(step):
            allocate(too_large // 4)
        assert str(raised.value) == sentence
    # As torch says it on Windows.
    with pytest.raises(EnvironmentLacks), memory_said(step):
        raise RuntimeError("alloc_cpu.cpp:113] data. DefaultCPUAllocator: not enough memory: you")
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), memory_said(step):
        torch.ones(2, 3) @ torch.ones(2, 3)


def test_the_line_warns_where_it_cannot_fit() -> None:
    memory = TrainingMemory(parameters=3 * 2**30, activations=512 * 2**20)
    assert memory.line(16, 8 * 2**30) == (
        "memory: about 3.5 GB (3.0 GB for weights, gradients and optimiser, 512 MB for 16 "
        "pictures), 8.0 GB are free"
    )
    assert memory.line(16, 2**30).endswith("1.0 GB are free - MORE THAN IS FREE")
