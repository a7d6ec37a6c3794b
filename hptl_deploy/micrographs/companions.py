"""Files that belong to a micrograph file: an Olympus VSI keeps its pixels in a folder beside it.

name.vsi
_name_/stack1/frame_t.ets
      /stack10001/frame_t.ets
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from hptl_deploy.files import sha256_file

_STACK = re.compile(r"stack(\d{1,9})")
_FRAMES = re.compile(r"frame_t.*\.ets", re.IGNORECASE)


def pixel_folder(path: Path) -> Path:
    """The folder that holds the pixels of the VSI file `path`."""
    return path.parent / f"_{path.stem}_"


def companions(path: Path) -> tuple[Path, ...]:
    """The files that `path` cannot be read without, in order; none for most formats.

    What is not there is left out. Raises OSError where a folder cannot be read.
    """
    if path.suffix.lower() != ".vsi":
        return ()
    found = stacks(path)
    return tuple(file for number in sorted(found) for file in found[number])


def stacks(path: Path) -> dict[int, tuple[Path, ...]]:
    """The files of pixels of the VSI file `path`, by the number of the folder they lie in."""
    folder = pixel_folder(path)
    found: dict[int, tuple[Path, ...]] = {}
    for stack in _entries(folder):
        match = _STACK.fullmatch(stack.name)
        if match:
            files = tuple(file for file in _entries(stack) if _FRAMES.fullmatch(file.name))
            found[int(match[1])] = files
    return found


def is_companion(path: Path) -> bool:
    """Whether `path` is named as a file of pixels is, and lies where one does."""
    return bool(_FRAMES.fullmatch(path.name) and _STACK.fullmatch(path.parent.name))


def content_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a micrograph: of the file's bytes, and of those beside it."""
    beside = companions(path)
    if not beside:
        return sha256_file(path)
    digest = hashlib.sha256(sha256_file(path).encode())
    top = pixel_folder(path)
    for file in beside:
        name = file.relative_to(top).as_posix()
        digest.update(f"{name}\0{sha256_file(file)}".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
