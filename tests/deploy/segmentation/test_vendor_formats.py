"""Microscopes' own files, segmented: the same classes as a PNG's, and their pixel size."""

from __future__ import annotations

import csv
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as Picture

from hptl_deploy.engines import Engine
from hptl_deploy.segmentation import SegmentOptions, segment
from support.czi_samples import Piece, czi
from support.drawings import rectangles
from support.lif_samples import RGB, Image, lif
from support.nd2_samples import Nd2

_GREY = rectangles(107, 211, grey=(10, 60, 20, 120), dark=(70, 107, 150, 211))
_PIXELS = np.ascontiguousarray(_GREY if _GREY.ndim == 3 else np.stack([_GREY] * 3, -1))

FORMATS: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "CZI": (".czi", czi(Piece(_PIXELS), metres=3.3e-7), "pylibCZIrw"),
    "LIF": (".lif", lif(Image(_PIXELS, tags=RGB, metres=3.3e-7)), "liffile"),
    "ND2": (".nd2", Nd2((_PIXELS[..., ::-1],), um=0.33), "nd2"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_classes_and_pixel_size(tmp_path: Path, engine: Engine, name: str) -> None:
    suffix, write, package = FORMATS[name]
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / f"a{suffix}")
    Picture.fromarray(_PIXELS).save(tmp_path / "in" / "b.png")
    summary = segment(SegmentOptions(tmp_path / "in"), engine)
    assert summary.exit_code == 0
    with (summary.out / "fields.csv").open(encoding="utf-8", newline="") as handle:
        rows = {row["file"]: row for row in csv.DictReader(handle)}
    row = rows[f"a{suffix}"]
    assert (row["pixel_size_um"], row["pixel_size_source"]) == ("0.33", name)
    with tifffile.TiffFile(summary.out / "a_classes.tif") as file:
        page = file.pages.first
        across = page.tags["XResolution"].value
        assert page.tags["ResolutionUnit"].value == 3
        assert 1e4 * across[1] / across[0] == pytest.approx(0.33)
        classes = page.asarray()
    assert np.array_equal(classes, tifffile.imread(summary.out / "b_classes.tif"))
    assert len(np.unique(classes)) == 3
