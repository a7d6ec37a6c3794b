"""OME-Zarr, opened again by tensorstore, and its metadata against the published rules.

https://ngff.openmicroscopy.org/0.4 and /0.5: multiscales, image-label, omero.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
from numpy.typing import NDArray

from hptl_deploy.files import files_of, size_of
from hptl_deploy.outputs.ome_zarr import banded_rows, write_class_zarr, write_confidence_zarr
from hptl_deploy.phases import PAPER_PHASES
from hptl_deploy.segmentation.mosaics.band import BandedMap
from support.drawings import blobs

ABOUT = {"model": "demo", "pixel_size_um": 0.25}
VERSIONS = ["0.4", "0.5"]


def opened(folder: Path, version: str, level: int) -> tensorstore.TensorStore:
    spec = {
        "driver": {"0.4": "zarr", "0.5": "zarr3"}[version],
        "kvstore": {"driver": "file", "path": f"{folder / str(level)}/"},
    }
    return tensorstore.open(spec, read=True).result()


def metadata(folder: Path, version: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The OME part of a group's attributes, and all of them."""
    if version == "0.4":
        assert json.loads((folder / ".zgroup").read_text()) == {"zarr_format": 2}
        attributes = json.loads((folder / ".zattrs").read_text())
        return attributes, attributes
    document = json.loads((folder / "zarr.json").read_text())
    assert document["zarr_format"] == 3
    assert document["node_type"] == "group"
    attributes = document["attributes"]
    assert attributes["ome"]["version"] == "0.5"
    return attributes["ome"], attributes


def check_multiscale(folder: Path, version: str, size: float | None) -> int:
    """The rules of `multiscales`; the number of levels."""
    (multiscale,) = metadata(folder, version)[0]["multiscales"]
    assert ("version" in multiscale) == (version == "0.4")
    assert multiscale.get("version", "0.4") == "0.4"
    unit = {} if size is None else {"unit": "micrometer"}
    assert multiscale["axes"] == [
        {"name": "y", "type": "space", **unit},
        {"name": "x", "type": "space", **unit},
    ]
    full = opened(folder, version, 0).shape
    for level, dataset in enumerate(multiscale["datasets"]):
        assert dataset["path"] == str(level)  # highest resolution first
        array = opened(folder, version, level)
        assert array.shape == tuple(-(-side // 2**level) for side in full)
        (scale,) = dataset["coordinateTransformations"]
        assert scale == {"type": "scale", "scale": [(size or 1.0) * 2**level] * 2}
        if version == "0.5":
            described = json.loads((folder / str(level) / "zarr.json").read_text())
            assert described["dimension_names"] == ["y", "x"]
        else:
            described = json.loads((folder / str(level) / ".zarray").read_text())
            assert described["dimension_separator"] == "/"
    return len(multiscale["datasets"])


@pytest.fixture(scope="module")
def classes() -> NDArray[np.uint8]:
    drawn = (blobs(1500, 2100, seed=7) // 86).astype(np.uint8)
    drawn[:40, :300] = 255
    return drawn


@pytest.mark.parametrize("version", VERSIONS)
def test_a_class_map_is_a_label_image(
    tmp_path: Path, classes: NDArray[np.uint8], version: str
) -> None:
    folder = tmp_path / "a_classes.ome.zarr"
    write_class_zarr(folder, banded_rows(classes), PAPER_PHASES, ABOUT, version)
    assert check_multiscale(folder, version, 0.25) == 3
    for level in range(3):
        found = opened(folder, version, level).read().result()
        np.testing.assert_array_equal(found, classes[:: 2**level, :: 2**level])
        assert found.dtype == np.uint8
    ome, attributes = metadata(folder, version)
    assert attributes["hptl_deploy"] == ABOUT
    label = ome["image-label"]
    assert label.get("version", "0.5") == version
    assert label["colors"] == [
        {"label-value": 0, "rgba": [0, 0, 0, 255]},
        {"label-value": 1, "rgba": [255, 0, 0, 255]},
        {"label-value": 2, "rgba": [255, 255, 0, 255]},
        {"label-value": 255, "rgba": [128, 128, 128, 255]},
    ]
    assert label["properties"][1] == {"label-value": 1, "key": "mg2si", "name": "Mg2Si"}
    assert [one["label-value"] for one in label["properties"]] == [0, 1, 2, 255]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_confidence_map_is_an_image(tmp_path: Path, version: str) -> None:
    pixels = blobs(300, 200, seed=8)
    folder = tmp_path / "a_confidence.ome.zarr"
    about = {**ABOUT, "pixel_size_um": None}
    write_confidence_zarr(folder, banded_rows(pixels), about, version)
    assert check_multiscale(folder, version, None) == 1
    np.testing.assert_array_equal(opened(folder, version, 0).read().result(), pixels)
    ome, attributes = metadata(folder, version)
    assert "image-label" not in ome
    (channel,) = ome["omero"]["channels"]
    assert channel["color"] == "FFFFFF"
    assert channel["window"] == {"start": 0, "end": 255, "min": 0, "max": 255}
    assert attributes["hptl_deploy"]["content"] == "probability of the winning class x 255"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("band", [256, 768, 1280])
def test_pieces_of_any_height_give_the_same_files(
    tmp_path: Path, classes: NDArray[np.uint8], version: str, band: int
) -> None:
    banded = BandedMap(classes.shape[0], classes.shape[1], band)

    def rows(level: int) -> list[NDArray[np.uint8]]:
        pieces = [classes[slice(*banded.rows(number))] for number in range(banded.bands)]
        return [piece[:: 2**level, :: 2**level] for piece in pieces]

    write_class_zarr(tmp_path / "whole", banded_rows(classes), PAPER_PHASES, ABOUT, version)
    write_class_zarr(tmp_path / "bands", (banded, rows), PAPER_PHASES, ABOUT, version)
    assert contents(tmp_path / "bands") == contents(tmp_path / "whole")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in files_of(folder)}


def test_a_wide_map_has_few_files_in_version_05(tmp_path: Path) -> None:
    pixels = np.ones((2500, 5000), np.uint8)
    write_class_zarr(tmp_path / "a", banded_rows(pixels), PAPER_PHASES, ABOUT, "0.5")
    # Levels of 2500, 1250, 625 and 313 rows: 3 + 2 + 1 + 1 shards, 4 arrays, the group.
    assert len(files_of(tmp_path / "a")) == 7 + 4 + 1
    assert size_of(tmp_path / "a") < pixels.size / 100


def test_rows_are_asked_for_one_after_the_other(tmp_path: Path) -> None:
    """Nobody keeps the pieces: each may be freed when the next but one is asked for."""
    import weakref

    banded = BandedMap(8192, 300, 1024)
    alive: list[weakref.ref[NDArray[np.uint8]]] = []

    def rows(level: int) -> Any:
        for number in range(banded.bands):
            assert sum(one() is not None for one in alive) <= 2
            piece = np.full(banded.shape(level, number), number % 3, np.uint8)
            alive.append(weakref.ref(piece))
            yield piece

    write_class_zarr(tmp_path / "a", (banded, rows), PAPER_PHASES, ABOUT, "0.5")
    found = opened(tmp_path / "a", "0.5", 0)[::1024, 0].read().result()
    assert found.tolist() == [number % 3 for number in range(8)]
