"""Weights and optimiser state on disk, as safetensors: nothing in them is executed.

A checkpoint is three files; `checkpoint.json` is written last and names the other two, so
a process killed at any moment leaves the old checkpoint or the new one. Where a step keeps its
best weights, it names their file, too, which stays until a checkpoint names another.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hptl_deploy.errors import RunError
from hptl_deploy.files import atomic_path, remove_leftovers, write_json

_POINTER = "checkpoint.json"
_CHECKPOINTS = "checkpoint-*.safetensors"
_BEST = "best-*.safetensors"


@dataclass(frozen=True)
class Progress:
    """Where a step stands."""

    iteration: int
    """Iterations done."""
    window: tuple[float, ...]
    """Losses since the last line of metrics.jsonl."""
    metrics_bytes: int
    """Length of metrics.jsonl; what a killed run wrote beyond it is cut off."""
    seconds: float
    """Spent training so far."""
    best: tuple[int, float] | None = None
    """(iteration, mean IoU) of the best validation."""
    best_weights: str | None = None
    """The file of its weights; None where they are not kept, or are the module's own."""
    scaler: dict[str, Any] = field(default_factory=dict)
    """State of fp16's loss scaling."""


def save_weights(path: Path, module: nn.Module) -> None:
    """Write all parameters and running statistics, named as in `module`, whole or not at all.

    Raises RunError.
    """
    tensors = {name: t.detach().cpu().contiguous() for name, t in module.state_dict().items()}
    save_tensors(path, tensors)


def load_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name, on the CPU. Raises RunError when the file is missing or damaged."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as exc:
        raise RunError(f"{path}: the weights cannot be read ({exc})") from exc


def restore_weights(module: nn.Module, weights: dict[str, Tensor], where: Path) -> None:
    """Put `weights` into `module`; raises RunError unless names and shapes are the same."""
    own = module.state_dict()
    if {n: p.shape for n, p in own.items()} != {n: w.shape for n, w in weights.items()}:
        raise RunError(f"{where}: its weights are of another network than the recipe's")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(weights[name])


def best_file(iteration: int) -> str:
    """The name of the file of the best weights, those of `iteration`."""
    return f"best-{iteration:07d}.safetensors"


def save_best(folder: Path, name: str, module: nn.Module, named: str | None) -> None:
    """Write the best weights so far as `name`. Raises RunError.

    `named` is the file that the checkpoint in `folder` names: it stays, others go.
    """
    save_weights(folder / name, module)
    _remove(path for path in folder.glob(_BEST) if path.name not in (name, named))


def save_checkpoint(
    folder: Path, progress: Progress, module: nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    """Write a checkpoint and remove the one before it. Raises RunError."""
    stem = f"checkpoint-{progress.iteration:07d}"
    names = {"weights": f"{stem}.safetensors", "optimiser": f"{stem}.optimiser.safetensors"}
    save_weights(folder / names["weights"], module)
    save_tensors(folder / names["optimiser"], _flatten(optimiser))
    write_json(folder / _POINTER, {**vars(progress), **names})
    needed = {*names.values(), progress.best_weights}
    old = [*folder.glob(_CHECKPOINTS), *folder.glob(_BEST)]
    _remove(path for path in old if path.name not in needed)


def load_checkpoint(
    folder: Path, module: nn.Module, optimiser: torch.optim.Optimizer
) -> Progress | None:
    """Restore the checkpoint in `folder`; None where there is none. Raises RunError."""
    pointer = folder / _POINTER
    if not pointer.is_file():
        return None
    try:
        document = json.loads(pointer.read_text(encoding="utf-8"))
        progress = Progress(
            int(document["iteration"]),
            tuple(float(loss) for loss in document["window"]),
            int(document["metrics_bytes"]),
            float(document["seconds"]),
            (int(best[0]), float(best[1])) if (best := document.get("best")) else None,
            document.get("best_weights"),
            dict(document.get("scaler", {})),
        )
        weights, state = folder / document["weights"], folder / document["optimiser"]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise RunError(f"{pointer}: is not a checkpoint of this program ({exc!r})") from exc
    restore_weights(module, load_weights(weights), weights)
    _unflatten(optimiser, load_weights(state))
    return progress


def remove_checkpoint(folder: Path) -> None:
    """Delete the checkpoint of a finished step, and the best weights that it names."""
    _remove([folder / _POINTER, *folder.glob(_CHECKPOINTS), *folder.glob(_BEST)])


def clear_leftovers(folder: Path) -> None:
    """Delete what a killed process left half-written in a step's folder."""
    remove_leftovers(folder)
    _remove(folder.glob(".tmp*"))  # safetensors' own temporary files


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors by name, whole or not at all. Raises RunError."""
    try:
        with atomic_path(path) as temporary:
            save_file(tensors, temporary)
    except (OSError, SafetensorError) as exc:
        raise RunError(
            f"{path}: cannot be written ({exc}); the last checkpoint is kept",
            hint="Make room on the disk, then go on with: hptl-deploy train --resume",
        ) from exc


def _remove(paths: Iterable[Path]) -> None:
    """Delete files that are in nobody's way: one that is held open goes the next time."""
    for path in paths:
        with suppress(OSError):
            path.unlink()


def _flatten(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    state: dict[int, dict[str, Any]] = optimiser.state_dict()["state"]
    return {
        f"{number}.{key}": value.detach().cpu().contiguous()
        for number, entries in state.items()
        for key, value in entries.items()
        if isinstance(value, Tensor)
    }


def _unflatten(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, key = name.partition(".")
        # A copy: the file's tensors are mapped, and Windows keeps a mapped file from removal.
        state.setdefault(int(number), {})[key] = tensor.clone()
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})
