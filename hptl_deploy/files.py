"""Files and folders that are whole or absent: temporary name, flush, rename; and their hashes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY_SUFFIX = ".hptl-part"
"""Ending of files being written; `remove_leftovers` clears what a killed process left."""

_ASIDE = f"old{TEMPORARY_SUFFIX}"
_CHUNK = 1 << 20


@contextmanager
def atomic_path(path: Path, root: Path | None = None) -> Iterator[Path]:
    """A temporary path beside `path` that becomes `path` when the block ends without error.

    Readers of `path` see the old file or the new one, never a part. On an error the
    temporary file is removed and `path` is untouched. Where the block makes a folder of it, the
    same holds, but for a moment in which an old folder is gone and the new one not there yet.
    Folders above it are made, though not `root` or what is above that.
    Raises OSError as the system does.
    """
    _make_folder(path.parent, root)
    # The name keeps to the length of the final one as far as it can: 255 bytes is
    # the limit of common file systems.
    temporary = path.with_name(
        f".{hashlib.sha256(path.name.encode()).hexdigest()[:16]}-{os.getpid()}{TEMPORARY_SUFFIX}"
    )
    try:
        yield temporary
        for written in files_of(temporary):
            with written.open("rb+") as handle:
                os.fsync(handle.fileno())
        if temporary.is_dir() and path.is_dir():
            _replace_folder(temporary, path)
        else:
            _replace(temporary, path)
    finally:
        remove(temporary)


def _make_folder(folder: Path, root: Path | None) -> None:
    if root is None:
        folder.mkdir(parents=True, exist_ok=True)
    elif folder != root:
        _make_folder(folder.parent, root)
        folder.mkdir(exist_ok=True)


def _replace_folder(temporary: Path, path: Path) -> None:
    """No system renames onto a folder that holds something, so the old one goes aside first."""
    aside = temporary.with_name(f"{temporary.name.removesuffix(TEMPORARY_SUFFIX)}-{_ASIDE}")
    _replace(path, aside)
    _replace(temporary, path)
    remove(aside)


def _replace(temporary: Path, path: Path) -> None:
    """Rename, patiently: on Windows a virus scanner may hold a new file for a moment."""
    for pause in (0.05, 0.1, 0.2, 0.4):
        try:
            temporary.replace(path)
        except PermissionError:
            time.sleep(pause)
        else:
            return
    temporary.replace(path)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write `content` as UTF-8 with line feeds on every system, whole or not at all."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, document: object) -> None:
    """Write `document` as readable JSON, whole or not at all."""
    write_text(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def remove_leftovers(folder: Path) -> int:
    """Delete what killed processes left half-written below `folder`; returns how many."""
    leftovers = list(folder.rglob(f".*{TEMPORARY_SUFFIX}")) if folder.is_dir() else []
    for leftover in leftovers:
        remove(leftover)
    return len(leftovers)


def files_of(path: Path) -> list[Path]:
    """All files below a folder; a file itself."""
    return [one for one in path.rglob("*") if one.is_file()] if path.is_dir() else [path]


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder. Raises OSError where there is none."""
    path.stat()
    return sum(one.stat().st_size for one in files_of(path))


def remove(path: Path) -> None:
    """Delete a file, or a folder with all it holds, if it is there. Raises OSError."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sha256_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_json(document: object) -> str:
    """Hexadecimal SHA-256 of a JSON document, independent of key order and spacing."""
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()
