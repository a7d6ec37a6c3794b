"""Which device trains."""

from __future__ import annotations

import torch
from lightning_fabric import Fabric

from hptl_deploy.errors import EnvironmentLacks, UsageError


def open_fabric(device: str) -> Fabric:
    """`auto`, `cpu`, `cuda` or `cuda:N`, one device. Raises UsageError, EnvironmentLacks."""
    kind, _, number = device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (
        number and not (kind == "cuda" and number.isdigit())
    ):
        raise UsageError(f"--device {device}: expected auto, cpu, cuda or cuda:N")
    cards = torch.cuda.device_count()
    if kind == "cuda" and int(number or 0) >= cards:
        raise EnvironmentLacks(
            f"--device {device}: torch {torch.__version__} finds {cards} NVIDIA cards here",
            hint="Use --device cpu, or install a CUDA build of torch",
        )
    if kind == "cpu" or cards == 0:
        return Fabric(accelerator="cpu", devices=1, precision="32-true")
    # A resumed run must repeat an unbroken one: no algorithm that adds up in random order.
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    return Fabric(accelerator="cuda", devices=[int(number or 0)], precision="32-true")
