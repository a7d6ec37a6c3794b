"""What TensorRT measured in earlier builds, kept between them.

The cache belongs to the user, not to a model: it holds times of kernels on one card. It decides
nothing about an engine's answers, and what the library does not accept of it is measured anew.
"""

from __future__ import annotations

import re
from pathlib import Path

from hptl_deploy.engines.flavour import Flavour, Trt
from hptl_deploy.engines.machine import Card
from hptl_deploy.engines.storage import cache_folder
from hptl_deploy.errors import EngineError
from hptl_deploy.files import write_bytes


def timing_file(flavour: Flavour, card: Card) -> Path:
    """The cache's file for this version and card."""
    name = re.sub(r"[^a-z0-9.]+", "-", f"{flavour.key}-{flavour.version}-{card}".lower())
    return cache_folder() / f"{name.strip('-')}.timing"


def attach_timings(config: Trt, path: Path) -> None:
    """Let a build use the times in `path`, where there are any, and note its own.

    Raises EngineError where not even an empty cache is accepted.
    """
    try:
        kept = path.read_bytes()
    except OSError:
        kept = b""
    for content in (kept, b""):
        cache = config.create_timing_cache(content)
        # Strict: times of another card would choose badly.
        if cache is not None and config.set_timing_cache(cache, False):
            return
    raise EngineError("the builder does not accept a timing cache")


def keep_timings(config: Trt, path: Path) -> None:
    """Write what the build knows now. A cache that cannot be kept is no reason to fail."""
    cache = config.get_timing_cache()
    content = None if cache is None else cache.serialize()
    if content is not None:
        try:
            write_bytes(path, bytes(content))
        except OSError:
            return
