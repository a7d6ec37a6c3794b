"""The timing cache, through a real configuration.

TensorRT for RTX keeps the calls and measures nothing, so its cache is a header, of which it warns.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hptl_deploy.engines.flavour import Flavour, Trt, new_logger
from hptl_deploy.engines.machine import Card
from hptl_export.engine.timing import attach_timings, keep_timings, timing_file

pytestmark = pytest.mark.filterwarnings("ignore:.*no-ops in TensorRT-RTX:DeprecationWarning")


@pytest.fixture
def config(rtx: Flavour) -> Iterator[Trt]:
    logger, _ = new_logger(rtx)
    builder = rtx.trt.Builder(logger)
    yield builder.create_builder_config()
    del builder


def test_a_cache_is_written_and_read_again(tmp_path: Path, config: Trt) -> None:
    path = tmp_path / "deep" / "a.timing"
    attach_timings(config, path)  # none there yet
    keep_timings(config, path)
    kept = path.read_bytes()
    assert len(kept) > 0
    attach_timings(config, path)
    keep_timings(config, path)
    assert path.read_bytes() == kept
    assert [file.name for file in path.parent.iterdir()] == ["a.timing"]


@pytest.mark.parametrize("content", [b"", b"damaged" * 30])
def test_a_damaged_cache_is_begun_anew(tmp_path: Path, config: Trt, content: bytes) -> None:
    path = tmp_path / "a.timing"
    path.write_bytes(content)
    attach_timings(config, path)
    keep_timings(config, path)
    assert path.read_bytes() not in (b"", content)


def test_a_cache_that_cannot_be_kept_is_no_error(tmp_path: Path, config: Trt) -> None:
    (tmp_path / "file").write_bytes(b"")
    attach_timings(config, tmp_path / "file" / "a.timing")
    keep_timings(config, tmp_path / "file" / "a.timing")
    assert (tmp_path / "file").read_bytes() == b""


def test_every_version_and_card_has_its_own(own_cache: Path) -> None:
    card = Card("NVIDIA RTX A4000/Max-Q", "8.6")
    paths = {
        timing_file(Flavour(key, version, trt=None), Card(name, "8.6"))
        for key in ("tensorrt", "tensorrt-rtx")
        for version in ("11.0.0", "11.1.0")
        for name in ("NVIDIA A10", "NVIDIA A40")
    }
    assert len(paths) == 8
    assert timing_file(Flavour("tensorrt", "11.0.0", trt=None), card) == (
        own_cache / "tensorrt-11.0.0-nvidia-rtx-a4000-max-q-8.6.timing"
    )
