"""Kernels compiled at the first run: kept, damaged, and where they lie."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hptl_deploy.engines.flavour import TENSORRT
from hptl_deploy.engines.memory.host import HostMemory
from hptl_deploy.engines.runtime_cache import CachePaths, cache_paths, kept_for
from support.stand_in_tensorrt import Library, open_stand_in, write_engine
from support.streams import batch, ended, right
from support.threshold_model import write_threshold_model


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_threshold_model(tmp_path / "alloy", smoothing=2)


def places(path: Path) -> CachePaths:
    engine, _ = write_engine(path)
    return cache_paths(engine, HostMemory().properties())


def compiled(path: Path) -> Path:
    return places(path)[0]


def opened(path: Path, found: bytes, compiles: bytes) -> None:
    """A run that finds kernels and compiles others."""
    memory = HostMemory()
    library = Library(memory)
    with open_stand_in(path, memory, library):
        assert library.compiled == found
        library.compiled = compiles
    assert ended(memory)


def test_compiled_kernels_are_kept_between_runs(path: Path) -> None:
    cache = compiled(path)
    memory = HostMemory()
    library = Library(memory)
    with open_stand_in(path, memory, library):
        assert library.compiled == b""
        library.compiled = b"kernels"
    assert cache.read_bytes().endswith(b"kernels")
    assert cache.parent == path.parent / "engines"
    written = cache.stat().st_mtime_ns
    memory = HostMemory()
    library = Library(memory)
    with open_stand_in(path, memory, library):
        assert library.compiled == b"kernels"
    assert cache.stat().st_mtime_ns == written  # nothing new
    memory = HostMemory()
    library = Library(memory)
    with open_stand_in(path, memory, library):
        library.compiled += b", more"
    assert cache.read_bytes().endswith(b"kernels, more")


@pytest.mark.parametrize("damage", [b"", b"x", b"kernels", b"0" * 40])
def test_damaged_kernels_are_never_loaded(path: Path, damage: bytes) -> None:
    cache = compiled(path)
    cache.write_bytes(damage)
    memory = HostMemory()
    library = Library(memory)
    with open_stand_in(path, memory, library) as engine:
        assert library.compiled == b""
        assert np.array_equal(engine.infer(batch(1)).classes, right(path, 1))
    assert ended(memory)


def test_kernels_lie_with_the_user_where_the_engine_s_folder_takes_none(
    path: Path, own_cache: Path
) -> None:
    beside, own = places(path)
    assert own == own_cache / "engines" / beside.name
    beside.mkdir()
    opened(path, b"", b"kernels")
    assert own.read_bytes().endswith(b"kernels")
    opened(path, b"kernels", b"kernels, more")
    assert own.read_bytes().endswith(b"kernels, more")


def test_the_user_s_own_kernels_come_before_those_beside_the_engine(path: Path) -> None:
    beside, own = places(path)
    opened(path, b"", b"another's")
    others = beside.read_bytes()
    beside.unlink()
    beside.mkdir()
    opened(path, b"", b"mine")
    beside.rmdir()
    beside.write_bytes(others)
    opened(path, b"mine", b"mine")
    assert beside.read_bytes() == others
    # The folder takes files again, and nobody finds old kernels in the user's.
    opened(path, b"mine", b"all")
    assert beside.read_bytes().endswith(b"all")
    assert not own.exists()


def test_kernels_that_nobody_takes_are_no_error(path: Path) -> None:
    beside, own = places(path)
    beside.mkdir()
    own.mkdir(parents=True)
    opened(path, b"", b"kernels")
    opened(path, b"", b"kernels")


def test_every_file_of_an_engine_s_kernels(path: Path) -> None:
    beside, own = places(path)
    engine, _ = write_engine(path)
    own.parent.mkdir(parents=True)
    for file in (
        beside,
        own,
        elsewhere := beside.with_name(f"{engine.stem}-01234567.cache"),
        beside.with_name("fp32-tensorrt-rtx-another.cache"),
        beside.with_name(f"{engine.stem}-another-01234567.cache"),
    ):
        file.write_bytes(b"")
    assert set(kept_for(engine)) == {beside, own, elsewhere}


def test_cards_that_share_a_folder_do_not_share_kernels(path: Path) -> None:
    here = HostMemory().properties()
    engine, _ = write_engine(path)
    found = {
        cache_paths(engine, card)
        for card in (
            here,
            replace(here, name="another"),
            replace(here, driver="590.1"),
            replace(here, capability="8.9"),
            replace(here, free_bytes=1),
        )
    }
    assert len(found) == 4


def test_tensorrt_itself_keeps_no_kernels(path: Path) -> None:
    cache = compiled(path)
    memory = HostMemory()
    library = Library(memory)
    with open_stand_in(path, memory, library, key=TENSORRT):
        library.compiled = b"kernels"
    assert not cache.exists()
