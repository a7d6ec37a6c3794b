"""What TensorRT for RTX compiled for this card, kept beside the engine between runs.

It is machine code, as the engine is. The file begins with the SHA-256 of the rest, so that a
damaged one is never given to the library; the library itself refuses one of another card, version
or driver. Refused or missing, it is compiled again: a first run takes longer, that is all.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from hptl_deploy.files import sha256_json, write_bytes

if TYPE_CHECKING:
    import tensorrt_rtx as trt  # type: ignore[import-untyped,import-not-found,unused-ignore]

    from hptl_deploy.engines.memory.base import DeviceProperties

_DIGEST_BYTES = 32


def cache_path(engine: Path, card: DeviceProperties) -> Path:
    """Where it lies for `engine` on `card`; machines that share a folder do not share it."""
    where = sha256_json([card.name, card.capability, card.driver])[:8]
    return engine.with_name(f"{engine.stem}-{where}.cache")


class RuntimeCache:
    """The compiled kernels of one engine in this process."""

    def __init__(self, config: trt.IRuntimeConfig, path: Path) -> None:
        """Let `config` use what `path` holds."""
        self._path = path
        self._content = _read(path)
        cache: trt.IRuntimeCache = config.create_runtime_cache()
        if self._content:
            cache.deserialize(self._content)
        config.set_runtime_cache(cache)
        self._cache = cache

    def save(self) -> None:
        """Write it, if something was compiled. A folder that refuses it is no error."""
        cache: trt.IRuntimeCache = self._cache
        serialized: trt.IHostMemory | None = cache.serialize()
        content = b"" if serialized is None else bytes(serialized)
        if content and content != self._content:
            with contextlib.suppress(OSError):
                write_bytes(self._path, hashlib.sha256(content).digest() + content)
            self._content = content


def _read(path: Path) -> bytes:
    """The kernels in `path`; nothing where they are missing or damaged."""
    try:
        whole = path.read_bytes()
    except OSError:
        return b""
    digest, content = whole[:_DIGEST_BYTES], whole[_DIGEST_BYTES:]
    return content if hashlib.sha256(content).digest() == digest else b""
