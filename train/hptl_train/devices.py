"""Which device trains, in which precision, and how several processes share a batch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from lightning_fabric import Fabric

from hptl_deploy.errors import EnvironmentLacks, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from hptl_train.recipe import ComputeTable

_FABRIC = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


@dataclass(frozen=True)
class Team:
    """The processes that train together, one per device; most often a single one.

    A recipe's batch is shared out among them, so that a result does not depend on their number
    beyond rounding, except where a network normalises over its share (DeepLab V3+). The first
    writes the run's folder, which all must see.
    """

    fabric: Fabric
    precision: str
    """fp32, bf16 or fp16."""

    @property
    def leads(self) -> bool:
        """Whether this process writes and speaks."""
        return bool(self.fabric.is_global_zero)

    @property
    def size(self) -> int:
        """Processes."""
        return int(self.fabric.world_size)

    @property
    def rank(self) -> int:
        """This process's place, 0 to size - 1."""
        return int(self.fabric.global_rank)

    @property
    def device(self) -> torch.device:
        """This process's device."""
        return self.fabric.device

    def share(self, count: int) -> range:
        """Which of `count` items are this process's."""
        return range(self.rank, count, self.size)

    def sums(self, values: Sequence[float]) -> list[float]:
        """Each value summed over the processes, in double precision."""
        if self.size == 1:
            return list(values)
        own = torch.tensor(values, dtype=torch.float64, device=self.device)
        summed = cast("torch.Tensor", self.fabric.all_reduce(own, reduce_op="sum"))
        return [float(value) for value in summed.cpu()]

    def copy_buffers(self, module: nn.Module) -> None:
        """Give all processes the first one's running statistics; each counted its own share's."""
        if self.size > 1:
            for buffer in module.buffers():
                torch.distributed.broadcast(buffer, 0)

    def told(self, text: str) -> str:
        """What the first process says."""
        return str(self.fabric.broadcast(text))

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            self.fabric.barrier()

    def scaler(self) -> dict[str, Any]:
        """State of fp16's loss scaling; empty in other precisions."""
        return dict(self.fabric.strategy.precision.state_dict())

    def restore_scaler(self, state: dict[str, Any]) -> None:
        """Put `scaler()` back."""
        if state:
            self.fabric.strategy.precision.load_state_dict(state)


def open_team(device: str, compute: ComputeTable) -> Team:
    """The device `auto`, `cpu`, `cuda` or `cuda:N`; all those of a `torchrun` that started us.

    Raises UsageError for a device or precision that makes no sense, and EnvironmentLacks
    where there is none.
    """
    kind, _, number = device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (
        number and not (kind == "cuda" and number.isdigit())
    ):
        raise UsageError(f"--device {device}: expected auto, cpu, cuda or cuda:N")
    cards = torch.cuda.device_count()
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if under_torchrun() else 1
    if number and here > 1:
        raise UsageError(f"--device {device}: torchrun gives each process its own; use cuda")
    wanted = max(int(number or 0) + 1, here if kind != "cpu" else 1)
    if kind == "cuda" and wanted > cards:
        raise EnvironmentLacks(
            f"--device {device}: torch {torch.__version__} finds {cards} NVIDIA cards here, "
            f"{wanted} are needed",
            hint="Use --device cpu, or install a CUDA build of torch",
        )
    on_cpu = kind == "cpu" or cards < wanted
    precision = _precision(compute.precision, on_cpu)
    if not on_cpu and compute.deterministic:
        # A resumed run should repeat an unbroken one: no convolution that adds up in random order.
        torch.backends.cudnn.deterministic = True
    # fp32 is fp32, as the exported model computes; a run in half precision validates in it, too.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = not compute.deterministic
    several = under_torchrun()
    nodes = int(os.environ.get("WORLD_SIZE", "1")) // here if several else 1
    own: int | list[int] = here if several or on_cpu else [int(number or 0)]
    fabric = Fabric(
        accelerator="cpu" if on_cpu else "cuda",
        devices=own,
        num_nodes=nodes,
        strategy="ddp" if several else "auto",
        precision=cast("Any", _FABRIC[precision]),
    )
    fabric.launch()
    return Team(fabric, precision)


def under_torchrun() -> bool:
    """Whether torchrun started this process, as one of several or alone."""
    return torch.distributed.is_available() and torch.distributed.is_torchelastic_launched()


def _precision(wanted: str, on_cpu: bool) -> str:
    if wanted == "auto":
        if on_cpu:
            return "fp32"
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if wanted == "fp16" and on_cpu:
        raise UsageError("--precision fp16: needs an NVIDIA card; on the CPU use bf16 or fp32")
    return wanted
