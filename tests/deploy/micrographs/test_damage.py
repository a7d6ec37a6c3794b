"""Cut and altered files: a result or MicrographError, never anything else, and in silence."""

from __future__ import annotations

import os
import tempfile
import threading
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hptl_deploy.errors import MicrographError
from hptl_deploy.micrographs import open_micrograph
from support.micrograph_samples import SAMPLES

KINDS = [
    "tiff-grey8-plain", "tiff-grey8-lzw", "tiff-rgb16-tiled-deflate", "tiff-red-jpeg",
    "tiff-red-planar", "tiff-palette", "tiff-grey12", "tiff-stack-truncated", "tiff-imagej-stack",
    "tiff-imagej-truncated", "tiff-ome-channels", "tiff-grey8-bigtiff", "tiff-grey8-big-endian",
    "tiff-pillow-bits-group4", "png-rgb8", "png-rgb16", "png-palette", "jpeg-red", "jpeg-cmyk",
    "bmp-rgb", "bmp-palette",
]  # fmt: skip


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, bytes]]:
    folder = tmp_path_factory.mktemp("whole")
    return {
        sample.name: (sample.suffix, sample.file(folder).read_bytes())
        for sample in SAMPLES
        if sample.name in KINDS
    }


def _read(path: Path) -> bool:
    """True where every page could be read, False for MicrographError; all else escapes."""
    try:
        with open_micrograph(path) as micrograph:
            for page in micrograph.pages:
                pixels = page.read()
                assert pixels.shape == (page.height, page.width, 3)
    except MicrographError as error:
        assert "\n" not in str(error)
        return False
    return True


@pytest.mark.parametrize("kind", KINDS)
def test_truncation(
    kind: str, contents: dict[str, tuple[str, bytes]], tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    suffix, content = contents[kind]
    path = tmp_path / f"x{suffix}"
    lengths = {*range(0, 40), *range(40, len(content), max(1, len(content) // 60))}
    path.write_bytes(content)
    assert _read(path)
    for length in sorted(lengths, reverse=True):
        os.truncate(path, length)
        # Only what follows the pixels may be missing: a TIFF's last directory entries
        # are checked, a PNG's end mark and a BMP's padding are not needed.
        assert not _read(path) or length > 0.9 * len(content), length
    assert capfd.readouterr() == ("", "")


@settings(
    max_examples=400,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    kind=st.sampled_from(KINDS),
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.booleans(), st.integers(0, 255)),
        min_size=1,
        max_size=6,
    ),
)
def test_altered_bytes(
    kind: str,
    changes: list[tuple[float, bool, int]],
    contents: dict[str, tuple[str, bytes]],
) -> None:
    suffix, content = contents[kind]
    altered = bytearray(content)
    for place, in_header, value in changes:
        reach = min(400, len(altered)) if in_header else len(altered)
        altered[int(place * reach)] = value
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        path = Path(folder) / f"x{suffix}"
        path.write_bytes(altered)
        _read(path)


def test_warnings_filters_are_restored_between_threads(
    contents: dict[str, tuple[str, bytes]], tmp_path: Path
) -> None:
    before = list(warnings.filters)
    suffix, content = contents["png-palette"]
    paths = [tmp_path / f"{number}{suffix}" for number in range(4)]
    for path in paths:
        path.write_bytes(content)
    results: list[bool] = []

    def work(path: Path) -> None:
        results.extend(_read(path) for _ in range(10))

    threads = [threading.Thread(target=work, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 40
    assert list(warnings.filters) == before
