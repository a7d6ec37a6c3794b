"""A pixel size comes through to every output, whoever stated it; each is opened again."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tifffile
from PIL import Image

from hptl_deploy.engines import Engine
from hptl_deploy.outputs.kinds import KINDS
from hptl_deploy.segmentation import SegmentOptions, segment
from support.czi_samples import Piece, czi
from support.drawings import blobs

SIZE_UM = 0.25
GREY = blobs(120, 170, seed=4)
RGB = np.repeat(GREY[..., None], 3, -1)


def tiff_tags(path: Path) -> None:
    tifffile.imwrite(path, GREY, resolution=(40000, 40000), resolutionunit="CENTIMETER")


def imagej(path: Path) -> None:
    tifffile.imwrite(path, GREY, imagej=True, resolution=(4, 4), metadata={"unit": "um"})


def ome(path: Path) -> None:
    size = {"PhysicalSizeX": SIZE_UM, "PhysicalSizeY": SIZE_UM}
    tifffile.imwrite(path, GREY, ome=True, metadata=size)


SOURCES: list[tuple[str, str, Callable[[Path], None]]] = [
    ("TIFF tags", "m.tif", tiff_tags),
    ("ImageJ", "m.tif", imagej),
    ("OME", "m.ome.tif", ome),
    ("CZI", "m.czi", czi(Piece(RGB), metres=SIZE_UM * 1e-6)),
]


def of_tiff(path: Path) -> float:
    """Micrometres, from the tags."""
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        assert page.tags["ResolutionUnit"].value == 3  # centimetres
        across, down = (page.tags[name].value for name in ("XResolution", "YResolution"))
        assert across == down
        return float(1e4 * across[1] / across[0])


def of_jpeg(path: Path) -> float:
    """Micrometres, from EXIF."""
    with Image.open(path) as picture:
        exif = picture.getexif()
        assert exif[0x0128] == 3
        return 1e4 / float(exif[0x011A])


def of_zarr(folder: Path) -> float:
    """Micrometres, from the largest level's scale."""
    document = json.loads((folder / "zarr.json").read_text(encoding="utf-8"))
    multiscale = document["attributes"]["ome"]["multiscales"][0]
    assert {axis["unit"] for axis in multiscale["axes"]} == {"micrometer"}
    (scale,) = multiscale["datasets"][0]["coordinateTransformations"]
    return float(scale["scale"][-1])


@pytest.mark.parametrize(("source", "name", "write"), SOURCES, ids=[one for one, _, _ in SOURCES])
def test_every_output_has_it(
    tmp_path: Path, engine: Engine, source: str, name: str, write: Callable[[Path], None]
) -> None:
    if source == "CZI":
        pytest.importorskip("pylibCZIrw")
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / name)
    also = tuple(kind for kind in KINDS if kind != "ome-zarr-0.4")
    out = segment(SegmentOptions(tmp_path / "in", confidence=True, also=also), engine).out
    base = name.removesuffix(".tif").removesuffix(".czi")
    with (out / "fields.csv").open(encoding="utf-8", newline="") as handle:
        (row,) = csv.DictReader(handle)
    assert (float(row["pixel_size_um"]), row["pixel_size_source"]) == (SIZE_UM, source)
    found = {
        ending: of_tiff(out / f"{base}{ending}")
        for ending in ("_classes.tif", "_confidence.tif", "_particles.tif")
    }
    found["overlay"] = of_jpeg(out / f"{base}_overlay.jpg")
    for kind in ("classes", "confidence"):
        found[f"{kind} zarr"] = of_zarr(out / f"{base}_{kind}.ome.zarr")
    table = pq.read_table(out / f"{base}_particles.parquet").to_pydict()
    areas = np.array(table["area_um2"]) / np.array(table["area_px"])
    assert len(areas) > 10
    found["particles"] = float(np.sqrt(np.median(areas)))
    document = json.loads((out / f"{base}_particles.geojson").read_text(encoding="utf-8"))
    measured = [feature["properties"]["measurements"] for feature in document["features"]]
    assert sorted(one["area_um2"] for one in measured) == pytest.approx(
        sorted(table["area_um2"]), rel=1e-5
    )
    assert found == pytest.approx(dict.fromkeys(found, SIZE_UM), rel=1e-6)
