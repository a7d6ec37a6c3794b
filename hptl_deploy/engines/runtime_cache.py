"""What TensorRT for RTX compiled for this card, kept beside the engine between runs.

Where the engine's folder may only be read, it lies with the user. It is machine code, as the
engine is. The file begins with the SHA-256 of the rest, so that a damaged one is never given to
the library; the library itself refuses one of another card, version or driver. Refused or
missing, it is compiled again: a first run takes longer, that is all.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from hptl_deploy.closing import Closes
from hptl_deploy.engines.storage import ENGINES_FOLDER, cache_folder
from hptl_deploy.files import sha256_json, write_bytes

if TYPE_CHECKING:
    import tensorrt_rtx as trt  # type: ignore[import-untyped,import-not-found,unused-ignore]

    from hptl_deploy.engines.memory.base import DeviceProperties

CachePaths = tuple[Path, Path]
"""Beside the engine, and with the user."""

_DIGEST_BYTES = 32
_CARD_DIGITS = 8


def cache_paths(engine: Path, card: DeviceProperties) -> CachePaths:
    """Where it may lie for `engine` on `card`; machines that share a folder do not share it.

    The user's own is named after the engine alone, whose key differs wherever its model does.
    """
    where = sha256_json([card.name, card.capability, card.driver])[:_CARD_DIGITS]
    beside, own = (folder / f"{engine.stem}-{where}.cache" for folder in _folders(engine))
    return beside, own


def kept_for(engine: Path) -> list[Path]:
    """Every file of kernels of `engine`, on whatever card, beside it and with the user."""
    name = f"{glob.escape(engine.stem)}-{'[0-9a-f]' * _CARD_DIGITS}.cache"
    return [path for folder in _folders(engine) for path in folder.glob(name)]


class RuntimeCache(Closes):
    """The compiled kernels of one engine in this process."""

    def __init__(self, config: trt.IRuntimeConfig, paths: CachePaths) -> None:
        """Let `config` use what one of `paths` holds."""
        self._paths = paths
        beside, own = paths
        # There is one of the user's own only while the one beside the engine cannot be renewed.
        self._content = _read(own) or _read(beside)
        self._cache: trt.IRuntimeCache = config.create_runtime_cache()
        if self._content:
            self._cache.deserialize(self._content)
        config.set_runtime_cache(self._cache)

    def save(self) -> None:
        """Write it, if something was compiled. That no folder takes it is no error."""
        serialized: trt.IHostMemory | None = self._cache.serialize()
        content = b"" if serialized is None else bytes(serialized)
        if content and content != self._content:
            self._write(hashlib.sha256(content).digest() + content)
            self._content = content

    def close(self) -> None:
        """Let go of the library's object, which holds the engine."""
        self._cache = None

    def _write(self, whole: bytes) -> None:
        beside, own = self._paths
        with contextlib.suppress(OSError):
            try:
                write_bytes(beside, whole)
            except OSError:
                write_bytes(own, whole)
            else:
                own.unlink(missing_ok=True)


def _folders(engine: Path) -> tuple[Path, Path]:
    return engine.parent, cache_folder() / ENGINES_FOLDER


def _read(path: Path) -> bytes:
    """The kernels in `path`; nothing where they are missing or damaged."""
    try:
        whole = path.read_bytes()
    except OSError:
        return b""
    digest, content = whole[:_DIGEST_BYTES], whole[_DIGEST_BYTES:]
    return content if hashlib.sha256(content).digest() == digest else b""
