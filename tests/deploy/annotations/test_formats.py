"""Every format against pixels that were counted or painted without its reader."""

from __future__ import annotations

import base64
import io
import math
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roifile
from numpy.typing import NDArray
from PIL import Image

from hptl_deploy.annotations import import_annotations
from hptl_deploy.datasets import load_data_set
from hptl_deploy.errors import DataSetError
from support.annotated import HEIGHT, WIDTH, box, labelme, painted, picture, write_json


def imported(source: Path, **options: Any) -> NDArray[np.uint8]:
    out = source.parent / "out"
    import_annotations(source, out, **options)
    data_set = load_data_set(out, verify=True)
    assert len(data_set.samples) == 1
    return data_set.read(data_set.samples[0])[1]


def problems(source: Path, **options: Any) -> list[str]:
    with pytest.raises(DataSetError) as caught:
        import_annotations(source, source.parent / "out", **options)
    assert not (source.parent / "out").exists()
    return list(caught.value.problems)


def test_labelme_shapes(tmp_path: Path) -> None:
    mask = io.BytesIO()
    Image.fromarray(np.array([[True, False], [True, True]])).save(mask, "PNG")
    text = base64.b64encode(mask.getvalue()).decode()
    source = labelme(
        tmp_path / "in",
        {"label": "fe", "shape_type": "rectangle", "points": [[9, 8], [2, 3]]},
        {"label": "mg2si", "shape_type": "circle", "points": [[30, 20], [30, 30]]},
        {"label": "fe", "shape_type": "mask", "points": [[0, 30], [1, 31]], "mask": text},
    )
    labels = imported(source)
    assert (labels[3:8, 2:9] == 2).all()
    assert labels[30:32, :2].tolist() == [[2, 0], [2, 2]]
    assert (labels == 2).sum() == 35 + 3
    assert (labels == 1).sum() == pytest.approx(math.pi * 100, rel=0.02)
    rows, columns = np.nonzero(labels == 1)
    assert np.hypot(rows + 0.5 - 20, columns + 0.5 - 30).max() <= 10


def test_a_labelme_mask_that_is_none(tmp_path: Path) -> None:
    shape = {"label": "fe", "shape_type": "mask", "points": [[0, 0], [1, 1]], "mask": "AAAA"}
    (found,) = problems(labelme(tmp_path / "in", shape))
    assert found.startswith("a.json, shape 1 (fe): its mask is not a readable PNG (")


def cvat(folder: Path, colours: NDArray[np.uint8]) -> Path:
    picture(folder / "JPEGImages" / "a.png")
    (folder / "SegmentationClass").mkdir()
    Image.fromarray(colours).save(folder / "SegmentationClass" / "a.png")
    (folder / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nMg2Si:200,10,20::\nfe:1,2,3::\n"
    )
    return folder


def test_cvat_masks(tmp_path: Path) -> None:
    expected = painted((3, 4, 13, 9, 1), (10, 5, 20, 30, 2))
    table = np.array([[0, 0, 0], [200, 10, 20], [1, 2, 3]], np.uint8)
    assert np.array_equal(imported(cvat(tmp_path / "in", table[expected])), expected)


def test_cvat_problems(tmp_path: Path) -> None:
    colours = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    colours[0, :7] = 5
    colours[1, :3] = 6
    source = cvat(tmp_path / "in", colours)
    picture(source / "SegmentationClass" / "b.jpg")
    picture(source / "SegmentationClass" / "c.png")
    picture(source / "d.png")
    picture(source / "sub" / "d.png")
    picture(source / "SegmentationClass" / "d.png")
    found = problems(source)
    assert found[:3] == [
        "b.jpg: a JPEG mask has other colours at every edge; export masks as PNG",
        "a.png: unknown colours (5, 5, 5) (7 px), (6, 6, 6) (3 px); labelmap.txt lists the others",
        "c.png: its image c is missing",
    ]
    assert found[3].startswith("d.png: its image d is there 2 times: ")
    (source / "labelmap.txt").write_text("fe:1,2,3::\nmg2si:1,2,3::\n")
    assert problems(source) == ["labelmap.txt: fe and mg2si share the colour (1, 2, 3)"]
    (source / "labelmap.txt").write_text("fe:1,2\n")
    assert problems(source) == [
        "labelmap.txt, line 1: expected name:red,green,blue:parts:actions, found fe:1,2"
    ]


def encoded(mask: NDArray[np.bool_]) -> list[int]:
    """Label Studio's run lengths, bit by bit; single values wherever a run is short."""
    values = np.zeros((*mask.shape, 4), np.uint8)
    values[mask] = (7, 8, 9, 255)
    flat = values.ravel().tolist()
    sizes = (2, 5, 9, 16)
    bits = f"{len(flat):032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in sizes)
    place = 0
    while place < len(flat):
        end = place
        while end < len(flat) and flat[end] == flat[place] and end - place < 60_000:
            end += 1
        run = end - place > 3
        if not run:
            end = min(place + 4, len(flat))
        count = end - place - 1
        kind = next(k for k, size in enumerate(sizes) if count < 2**size)
        bits += f"{run:b}{kind:02b}{count:0{sizes[kind]}b}"
        bits += "".join(f"{value:08b}" for value in flat[place : place + 1 if run else end])
        place = end
    bits += "0" * (-len(bits) % 8)
    return [int(bits[start : start + 8], 2) for start in range(0, len(bits), 8)]


def region(kind: str, label: str, **value: object) -> dict[str, Any]:
    return {
        "type": kind, "original_width": WIDTH, "original_height": HEIGHT,
        "value": {kind: [label], **value},
    }  # fmt: skip


def label_studio(folder: Path, *regions: object, image: str = "/data/upload/1/a.png") -> Path:
    picture(folder / "a.png")
    task = {"data": {"image": image}, "annotations": [{"result": list(regions)}]}
    write_json(folder / "export.json", [task])
    return folder


@pytest.mark.parametrize(
    "image",
    ["/data/upload/1/0a1b2c3d-a.png", "/data/local-files/?d=frames/a.png", "a.png"],
)
def test_label_studio_regions(tmp_path: Path, image: str) -> None:
    mask = np.random.default_rng(1).random((HEIGHT, WIDTH)) < 0.5
    mask[:, 20:] = False
    corners = [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in box(25, 2, 31, 9)]
    source = label_studio(
        tmp_path / "in",
        region("brushlabels", "fe", format="rle", rle=encoded(mask)),
        region("polygonlabels", "mg2si", points=corners),
        # 10 x 5 px from (40, 20), turned by a quarter: x 35 to 40, y 20 to 30
        region("rectanglelabels", "mg2si", x=80, y=50, width=20, height=12.5, rotation=90),
        image=image,
    )
    expected = painted((25, 2, 31, 9, 1), (35, 20, 40, 30, 1))
    expected[mask] = 2
    assert np.array_equal(imported(source), expected)


def test_contested_pixels_are_ignored(tmp_path: Path) -> None:
    source = label_studio(
        tmp_path / "in",
        region("rectanglelabels", "fe", x=0, y=0, width=40, height=50),  # 20 x 20 px
        region("rectanglelabels", "mg2si", x=20, y=0, width=40, height=50),
        region("rectanglelabels", "mg2si", x=20, y=0, width=40, height=50),
    )
    expected = painted((0, 0, 20, 20, 2), (10, 0, 30, 20, 1), (10, 0, 20, 20, 255))
    assert np.array_equal(imported(source), expected)


def test_label_studio_problems(tmp_path: Path) -> None:
    good = encoded(np.ones((HEIGHT, WIDTH), bool))
    source = label_studio(
        tmp_path / "in",
        region("brushlabels", "fe", rle=good[:9]),
        region("brushlabels", "fe", rle=[0, 0, 0, 9, *good[4:]]),
        region("brushlabels", "fe", rle=[300]),
        region("brushlabels", "fe", rle="AAAA"),
        {"type": "keypointlabels"},
        region("rectanglelabels", "fe", x=None, y=0, width=1, height=1),
    )
    assert problems(source) == [
        "export.json, task 1, region 1 (fe): its rle ends too early",
        "export.json, task 1, region 2 (fe): its rle holds 9 values; expected 8000, 4 for each of "
        "the image's pixels",
        "export.json, task 1, region 3 (fe): its rle holds something else than bytes",
        "export.json, task 1, region 4 (fe): expected a list as rle, found 'AAAA'",
        "export.json, task 1, region 5: is of the type 'keypointlabels'; expected brushlabels, "
        "polygonlabels, rectanglelabels, ellipselabels",
        "export.json, task 1, region 6 (fe): expected a coordinate within ±1e7, found None",
    ]


def test_a_brush_of_another_size_takes_no_memory(tmp_path: Path) -> None:
    """Four values a pixel would be 16 GB; a few bytes are enough to say so."""
    huge = {"original_width": 64_000, "original_height": 62_500}
    brush = region("brushlabels", "fe", rle=list((4 * 64_000 * 62_500 % 2**32).to_bytes(4, "big")))
    tracemalloc.start()
    assert problems(label_studio(tmp_path / "in", brush | huge, brush | huge)) == [
        "export.json, task 1: is for 64000 x 62500 px, but a.png has 50 x 40 px"
    ]
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("https://host/a.png", "its image https://host/a.png is an address, and nothing is "
         "downloaded; put the image beside the export and name it by its file name"),
        ("../a.png", "names the image ../a.png, which is outside in; put it beside the "
         "annotations and name it without a path"),
        ("/etc/a.png", "names the image /etc/a.png, which is outside in; put it beside the "
         "annotations and name it without a path"),
        ("/data/upload/9/b.png", "its image b.png is missing"),
    ],
)  # fmt: skip
def test_label_studio_addresses(tmp_path: Path, image: str, said: str) -> None:
    source = label_studio(tmp_path / "in", image=image)
    assert problems(source) == [f"export.json, task 1: {said}"]


def feature(label: str | None, kind: str, coordinates: object) -> dict[str, Any]:
    properties: dict[str, Any] = {"objectType": "annotation"}
    if label:
        properties["classification"] = {"name": label, "color": [1, 2, 3]}
    return {
        "type": "Feature",
        "properties": properties,
        "geometry": {"type": kind, "coordinates": coordinates},
    }


def qupath(folder: Path, *features: object) -> Path:
    picture(folder / "a.png")
    write_json(folder / "a.geojson", {"type": "FeatureCollection", "features": list(features)})
    return folder


def test_qupath_polygons_with_holes(tmp_path: Path) -> None:
    source = qupath(
        tmp_path / "in",
        feature("fe", "Polygon", [box(2, 2, 20, 20), box(5, 5, 9, 10)]),
        feature("mg2si", "MultiPolygon", [[box(25, 2, 30, 8)], [box(25, 20, 40, 33)]]),
    )
    expected = painted((2, 2, 20, 20, 2), (5, 5, 9, 10, 0), (25, 2, 30, 8, 1), (25, 20, 40, 33, 1))
    assert np.array_equal(imported(source), expected)


def test_a_link_out_of_the_folder_is_no_image(tmp_path: Path) -> None:
    source = qupath(tmp_path / "in", feature("fe", "Polygon", [box(2, 2, 20, 20)]))
    (source / "a.png").rename(tmp_path / "secret.png")
    (source / "a.png").symlink_to(tmp_path / "secret.png")
    assert problems(source) == ["a.geojson: its image a is missing"]


def test_qupath_problems(tmp_path: Path) -> None:
    source = qupath(
        tmp_path / "in",
        feature("fe", "LineString", [[0, 0], [1, 1]]),
        feature("fe", "Polygon", []),
        feature("fe", "Polygon", [5]),
        feature(None, "Polygon", [box(0, 0, 9, 9)]),
        5,
    )
    write_json(source / "b.geojson", {"type": "FeatureCollection"})
    assert problems(source) == [
        "a.geojson, feature 1 (fe): is a 'LineString', which has no area; expected Polygon or "
        "MultiPolygon",
        "a.geojson, feature 2 (fe): is empty",
        "a.geojson, feature 3 (fe): expected a list of points, found 5",
        "a.geojson, feature 5: expected a table as properties, found None",
        "b.geojson: its image b is missing",
        "unknown label names (none) (1 shape); expected aluminium matrix (al), Mg2Si (mg2si), "
        "Fe-containing phase (fe); name your own phases with --phases FILE",
    ]


def roi(kind: roifile.ROI_TYPE, name: str, corners: list[list[float]]) -> roifile.ImagejRoi:
    made = roifile.ImagejRoi.frompoints(np.array(corners), name=name)
    made.roitype = kind
    return made


def bounded(kind: roifile.ROI_TYPE, name: str, *sides: int, group: int = 0) -> roifile.ImagejRoi:
    left, top, right, bottom = sides
    return roifile.ImagejRoi(
        roitype=kind, name=name, left=left, top=top, right=right, bottom=bottom, group=group
    )


def roi_set(folder: Path, *rois: roifile.ImagejRoi, name: str = "RoiSet.zip") -> Path:
    picture(folder / "a.png")
    with zipfile.ZipFile(folder / name, "w") as archive:
        for place, one in enumerate(rois):
            archive.writestr(f"{place:04d}.roi", one.tobytes())
    return folder


@pytest.mark.parametrize("name", ["RoiSet.zip", "a.zip", "RoiSet_a.zip", "a_RoiSet.zip"])
def test_imagej_regions(tmp_path: Path, name: str) -> None:
    kinds = roifile.ROI_TYPE
    source = roi_set(
        tmp_path / "in",
        roi(kinds.POLYGON, "Mg2Si-1", box(2, 3, 9, 8)),
        roi(kinds.FREEHAND, "fe", box(12, 3, 19, 8)),
        roi(kinds.TRACED, "fe_02", box(22, 3, 29, 8)),
        bounded(kinds.RECT, "0001-0002", 32, 3, 39, 8, group=1),
        bounded(kinds.OVAL, "fe", 5, 15, 35, 35),
        name=name,
    )
    labels = imported(source)
    expected = painted((2, 3, 9, 8, 1), (12, 3, 19, 8, 2), (22, 3, 29, 8, 2), (32, 3, 39, 8, 1))
    assert np.array_equal(labels[:12], expected[:12])
    rows, columns = np.mgrid[12:HEIGHT, :WIDTH] + 0.5
    oval = ((columns - 20) / 15) ** 2 + ((rows - 25) / 10) ** 2
    assert np.array_equal(labels[12:] == 2, oval < 1)


@pytest.mark.parametrize("name", ["Fe", "fe-12", "0012 fe", "12_Fe-containing phase"])
def test_imagej_names_with_numbers(tmp_path: Path, name: str) -> None:
    source = tmp_path / "in"
    roi_set(source, bounded(roifile.ROI_TYPE.RECT, name, 3, 4, 13, 9))
    assert np.array_equal(imported(source), painted((3, 4, 13, 9, 2)))


def test_imagej_problems(tmp_path: Path) -> None:
    kinds = roifile.ROI_TYPE
    source = roi_set(
        tmp_path / "in",
        bounded(kinds.RECT, "fe", 3, 3, 3, 8),
        bounded(kinds.LINE, "fe", 3, 3, 5, 8),
        bounded(kinds.RECT, "fe", 3, 3, 5, 8, group=1),
        bounded(kinds.RECT, "pore", 3, 3, 5, 8, group=9),
    )
    (source / "a.roi").write_bytes(b"Iout" + bytes(20))
    found = problems(source)
    assert found[0] == "RoiSet.zip, region 0000: is 0 x 5 px"
    assert found[1] == (
        "RoiSet.zip, region 0001: is a line, which has no area; expected a polygon, freehand, "
        "traced, rectangle or oval region"
    )
    assert found[2].startswith("a.roi, region a: is no readable ImageJ region (")
    assert found[3] == "a.png is annotated twice, in RoiSet.zip and a.roi"
    assert found[4] == (
        "RoiSet.zip, region 0002: its name means Fe-containing phase, its group 1 Mg2Si"
    )
    assert found[5].startswith("unknown label names pore, group 9 (1 shape); expected ")


def test_hostile_archives(tmp_path: Path) -> None:
    source = roi_set(tmp_path / "in", name="a.zip")
    with zipfile.ZipFile(source / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for place in range(17):
            archive.writestr(f"{place}.roi", bytes(16 * 2**20))
    assert problems(source, format_name="imagej") == [
        "a.zip: unpacks to 17 files of 272 MiB; a set of regions has 100000 and 256 MiB at most"
    ]
    with zipfile.ZipFile(source / "a.zip", "w") as archive:
        archive.writestr("../../evil.sh", b"")
    assert problems(source) == ["a.zip: holds evil.sh, which is no .roi file"]
    (source / "a.zip").write_bytes(b"PK\3\4 and no more")
    (found,) = problems(source)
    assert found.startswith("a.zip: is damaged (")
