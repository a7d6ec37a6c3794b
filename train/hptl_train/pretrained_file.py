"""Tensors of a weights file that somebody else made; nothing in the file is executed."""

from __future__ import annotations

import pickle
import re
import stat
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hptl_deploy.errors import UsageError

SUFFIXES = (".safetensors", ".pth", ".pt")
_NESTED = ("state_dict", "model_state_dict", "model")
"""Keys under which checkpoints of whole trainings keep the network's parameters."""
_DEEPEST = 4
"""Levels of such keys: a pickled dictionary may hold itself."""


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by their names in the file, on the CPU, and the file's own words about them.

    `.safetensors` by its library; `.pth` and `.pt` by `torch.load(weights_only=True)`, whose
    unpickler builds tensors and containers and refuses everything else. Sparse, quantised,
    nested and expanded tensors are left out. Raises UsageError, one sentence, when the file is
    missing, damaged, of another kind, or needs its own code to be restored.
    """
    where = f"VGG-19 weights {path}"
    try:
        _check_file(path, where)
        if path.suffix.lower() == ".safetensors":
            tensors, words = _safetensors(path, where)
        else:
            tensors, words = _pickled(path, where), {}
    except OSError as exc:
        raise UsageError(f"{where}: cannot be read ({exc.strerror or exc})") from exc
    return {name: tensor for name, tensor in tensors.items() if _is_plain(tensor)}, words


def _check_file(path: Path, where: str) -> None:
    expected = f"expected a file of weights ({', '.join(SUFFIXES)})"
    if not path.exists():
        raise UsageError(f"{where}: there is no such file; {expected}")
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise UsageError(f"{where}: is a folder; {expected}")
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{where}: is a device or a pipe; {expected}")
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{where}: ends in {path.suffix or 'nothing'}; {expected}")
    if found.st_size == 0:
        raise UsageError(f"{where}: is empty; {expected}")
    # Whether it may be read is known from here on: what fails later is the content's fault,
    # also where the reader seeks by numbers of a damaged file and the system says no.
    with path.open("rb") as handle:
        handle.read(1)


def _safetensors(path: Path, where: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as handle:
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
            return tensors, dict(handle.metadata() or {})
    except SafetensorError as exc:
        raise UsageError(
            f"{where}: is damaged or no safetensors file ({exc})",
            hint="Fetch or export it again",
        ) from exc


def _pickled(path: Path, where: str) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # said in the sentences below, or of no concern here
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as exc:  # damaged pickles end in errors of every class
        # torch's own text advises to load without the protection: it is not passed on.
        raise _refusal(where, exc) from exc
    return _parameters(content, where)


def _refusal(where: str, exc: Exception) -> UsageError:
    unpickling = isinstance(exc, pickle.UnpicklingError)
    code = re.search(r"GLOBAL ([\w.]+)", str(exc)) if unpickling else None
    if code or "TorchScript" in str(exc):
        needed = code[1] if code else "a TorchScript program"
        return UsageError(
            f"{where}: holds {needed}, which only running code from the file could restore; "
            "expected names and tensors alone",
            hint="Save the parameters alone: torch.save(model.state_dict(), FILE)",
        )
    return UsageError(
        f"{where}: is damaged, or no file of torch.save",
        hint="Fetch it again, or save it again with torch.save(model.state_dict(), FILE)",
    )


def _parameters(content: Any, where: str) -> dict[str, Tensor]:  # noqa: ANN401
    for _ in range(_DEEPEST):
        if not isinstance(content, Mapping):
            break
        inner = [content[key] for key in _NESTED if isinstance(content.get(key), Mapping)]
        if not inner:
            break
        content = inner[0]
    if not isinstance(content, Mapping):
        raise UsageError(
            f"{where}: holds a {type(content).__name__}; expected tensors by their names",
            hint="Save the parameters by name: torch.save(model.state_dict(), FILE)",
        )
    return {
        name: value
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }


def _is_plain(tensor: Tensor) -> bool:
    """Whether every element has its own place in memory, so that a copy is no larger."""
    return (
        tensor.layout == torch.strided
        and tensor.device.type == "cpu"
        and not tensor.is_quantized
        and not tensor.is_nested
        and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
    )
