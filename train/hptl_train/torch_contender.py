"""torch on the same micrographs: what a published model is compared with in `hptl-deploy bench`.

The network is rebuilt from the model file and fed as the engines are. It gives no confidence,
which is to its advantage.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import nn

from hptl_deploy.bench.contenders import Absent, Contender, Traits
from hptl_deploy.bench.machine import cores
from hptl_deploy.engines.base import Capacity
from hptl_deploy.errors import EngineError, HptlError, OutOfDeviceMemory
from hptl_deploy.model import Model
from hptl_deploy.segmentation.memory import plan_memory
from hptl_deploy.tiling import read_padded, regions_of
from hptl_train.from_onnx import segmenter_of
from hptl_train.predictor import classes_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

TIES_PPM = 20.0
"""Pixels per million that may differ from ONNX Runtime's in fp32: two phases that tie."""


@dataclass(frozen=True)
class Form:
    """One way to run it."""

    name: str
    device: str
    """`cpu` or `cuda`."""
    precision: str = "fp32"
    channels_last: bool = False
    compiled: bool = False


FORMS = (
    Form("torch eager", "cpu"),
    Form("torch channels_last", "cpu", channels_last=True),
    Form("torch eager", "cuda"),
    Form("torch eager", "cuda", precision="fp16"),
    Form("torch compiled", "cuda", precision="fp16", channels_last=True, compiled=True),
)
"""As torch comes, and what its documentation advises."""


class TorchContender(Contender):
    """One form of the network."""

    def __init__(self, module: nn.Module, traits: Traits) -> None:
        """`module` gives logits [N, K, H, W] of uint8 [N, H, W, 3] on the traits' device."""
        super().__init__(traits)
        self._module: nn.Module | None = module
        self._device = torch.device(traits.device)

    def classes(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """As `Contender.classes`."""
        plan, module = self.traits.plan, self._module
        if module is None:
            raise EngineError(f"{self.traits.name}: has been closed")
        found = np.empty(pixels.shape[:2], np.uint8)
        try:
            for tile in plan.tiles():
                part = read_padded(regions_of(pixels), tile.read, plan.height, plan.width)
                with torch.inference_mode():
                    logits = module(torch.from_numpy(part)[None].to(self._device))
                kept = logits[0][(slice(None), *tile.keep.slices)]
                found[tile.write.slices] = classes_of(kept)
        except torch.OutOfMemoryError as exc:
            raise OutOfDeviceMemory(
                f"{self.traits.name}: {self.traits.device} has no memory left for "
                f"{plan.width} x {plan.height} px"
            ) from exc
        except RuntimeError as exc:
            reason = str(exc).strip().splitlines()[0]
            raise EngineError(f"{self.traits.name}: torch failed ({reason})") from exc
        return found

    def close(self) -> None:
        """Let go of the module and its memory; a second call does nothing."""
        self._module = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def torch_contenders(
    model: Model, device: str, size: tuple[int, int]
) -> Iterator[Contender | Absent]:
    """Every form of FORMS that `device` (`auto`, `cpu`, `cuda`, `cuda:N`) means and that runs.

    `size` is (height, width) of the frames. torch is told to use as many threads as the engines
    on the CPU do.
    """
    torch.set_num_threads(cores())
    # fp32 means fp32, as it does in the engines.
    torch.backends.cudnn.allow_tf32 = False
    index = int(device.partition(":")[2] or 0)
    for form in FORMS:
        if form.device == "cpu" and device.startswith("cuda"):
            continue
        if form.device == "cuda" and (device == "cpu" or not torch.cuda.is_available()):
            continue
        where = "cpu" if form.device == "cpu" else f"cuda:{index}"
        try:
            contender = open_form(model, form, where, size)
        except HptlError as exc:
            yield Absent(form.name, form.precision, str(exc))
            continue
        yield contender


def open_form(model: Model, form: Form, device: str, size: tuple[int, int]) -> TorchContender:
    """One form on `device` (`cpu`, `cuda:N`). Raises ModelError, MicrographError."""
    card = model.card
    # What torch needs is not known; what ONNX Runtime needs on a CPU is close to it.
    capacity = Capacity(card.stride, card.halo, card.bytes_per_pixel_here())
    plan = plan_memory(device).plan(*size, capacity, None)
    traits = Traits(
        backend=form.name,
        device=device,
        precision=form.precision,
        plan=plan,
        versions={"torch": torch.__version__},
        tolerated_ppm=TIES_PPM if form.precision == "fp32" else None,
    )
    return TorchContender(laid_out(segmenter_of(model), form).to(device), traits)


def laid_out(module: nn.Module, form: Form) -> nn.Module:
    """`module` in the form's precision and memory format, and compiled where it says so."""
    module = copy.deepcopy(module)
    if form.precision == "fp16":
        module = module.half()
    if form.channels_last:
        # torch's types know this form for tensors alone.
        cast("Any", module).to(memory_format=torch.channels_last)
    return cast("nn.Module", torch.compile(module)) if form.compiled else module
