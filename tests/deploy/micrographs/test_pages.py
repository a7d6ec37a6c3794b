"""What counts as a page: stacks do, thumbnails, masks, pyramid levels and channels do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from hptl_deploy.errors import MicrographError
from hptl_deploy.micrographs import open_micrograph

CHANNELS_SENTENCE = (
    "holds {} channels; expected 1 (grey) or 3 (RGB). Choose the channels and save them in Fiji: "
    "Image > Type > RGB Color"
)


def _plane(level: int, height: int = 8, width: int = 9) -> NDArray[np.uint8]:
    return np.full((height, width), level, np.uint8)


def _levels(path: Path) -> list[list[int]]:
    """The colour of every page's first pixel."""
    with open_micrograph(path) as micrograph:
        return [page.read()[0, 0].tolist() for page in micrograph.pages]


def test_thumbnails_and_masks_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    options: dict[str, Any] = {"photometric": "minisblack", "metadata": None}
    with tifffile.TiffWriter(path) as writer:
        writer.write(_plane(1), **options)
        writer.write(_plane(2, 4, 4), subfiletype=1, **options)
        writer.write(_plane(3), **options)
        writer.write(_plane(1) > 0, subfiletype=4, **options)
    assert _levels(path) == [[1] * 3, [3] * 3]


def test_pyramid_levels_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(_plane(1, 32, 32), subifds=2, metadata=None, photometric="minisblack")
        writer.write(_plane(2, 16, 16), subfiletype=1, photometric="minisblack")
        writer.write(_plane(3, 8, 8), subfiletype=1, photometric="minisblack")
    assert _levels(path) == [[1] * 3]


def test_a_file_of_only_reduced_pictures_was_marked_by_mistake(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, _plane(7), subfiletype=1, metadata=None)
    assert _levels(path) == [[7] * 3]


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("kind", ["imagej", "ome", "shaped"])
def test_other_numbers_of_channels(tmp_path: Path, kind: str, count: int) -> None:
    path = tmp_path / "x.tif"
    options: dict[str, Any] = {kind: True} if kind != "shaped" else {}
    tifffile.imwrite(path, np.zeros((count, 8, 9), np.uint16), metadata={"axes": "CYX"},
                     photometric="minisblack", **options)  # fmt: skip
    with pytest.raises(MicrographError) as caught:
        open_micrograph(path)
    assert str(caught.value) == CHANNELS_SENTENCE.format(count)


@pytest.mark.parametrize("axes", ["ZCYX", "CZYX"])
@pytest.mark.parametrize("kind", ["ome", "shaped"])
def test_channels_in_any_order(tmp_path: Path, kind: str, axes: str) -> None:
    path = tmp_path / "x.tif"
    stack = np.zeros((2, 3, 8, 9), np.uint8)  # slices, channels
    for z in range(2):
        for c in range(3):
            stack[z, c] = 10 * z + c
    stored = stack if axes == "ZCYX" else np.swapaxes(stack, 0, 1).copy()
    tifffile.imwrite(path, stored, photometric="minisblack", ome=kind == "ome",
                     metadata={"axes": axes})  # fmt: skip
    assert _levels(path) == [[0, 1, 2], [10, 11, 12]]


def test_imagej_order_of_channels_last(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    description = "ImageJ=1.54f\nimages=6\nchannels=3\nslices=2\norder=zct\n"
    options: dict[str, Any] = {"metadata": None, "photometric": "minisblack"}
    with tifffile.TiffWriter(path) as writer:
        for level in range(6):
            writer.write(_plane(level), description=description if level == 0 else None, **options)
    assert _levels(path) == [[0, 2, 4], [1, 3, 5]]


def test_incomplete_channels(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    with tifffile.TiffWriter(path) as writer:
        for level in range(2):
            writer.write(_plane(level), description="ImageJ=1.54f\nchannels=3\n",
                         metadata=None, photometric="minisblack")  # fmt: skip
    with pytest.raises(MicrographError) as caught:
        open_micrograph(path)
    assert str(caught.value) == (
        "is incomplete: a picture of 3 channels has only 2; copy or export it again"
    )


def test_stale_stack_description_of_a_compressed_page(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, _plane(5), description="ImageJ=1.54f\nimages=9\nslices=9\n",
                     metadata=None, compression="lzw")  # fmt: skip
    assert _levels(path) == [[5] * 3]


def test_stack_without_its_planes_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, _plane(5), metadata=None,
                     description="ImageJ=1.54f\nimages=90000\nslices=90000\n")  # fmt: skip
    with pytest.raises(MicrographError, match=r"^is cut short: its 90000 pictures end at byte"):
        open_micrograph(path)


def test_millions_of_planes_behind_one_directory(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, _plane(5), metadata=None,
                     description="ImageJ=1.54f\nimages=9000000\nslices=9000000\n")  # fmt: skip
    with pytest.raises(MicrographError) as caught:
        open_micrograph(path)
    assert str(caught.value) == (
        "states 9000000 pictures behind one directory; expected 100000 at most. "
        "Save it in parts in Fiji"
    )


def test_ome_set_of_several_files_gives_each_its_own(tmp_path: Path) -> None:
    names = ["a.ome.tif", "b.ome.tif"]
    blocks = "".join(
        f'<TiffData FirstT="{t}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{name}">urn:uuid:{t}</UUID></TiffData>'
        for t, name in enumerate(names)
    )
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image><Pixels '
        'DimensionOrder="XYZCT" SizeX="9" SizeY="8" SizeZ="1" SizeC="1" SizeT="2" Type="uint8" '
        f'PhysicalSizeX="0.5" PhysicalSizeY="0.5">{blocks}</Pixels></Image></OME>'
    )
    for t, name in enumerate(names):
        tifffile.imwrite(tmp_path / name, _plane(t), description=xml, metadata=None)
    for t, name in enumerate(names):
        assert _levels(tmp_path / name) == [[t] * 3]
        with open_micrograph(tmp_path / name) as micrograph:
            assert micrograph.pages[0].calibration.pixel_size_um == 0.5


def test_animated_png_is_its_first_picture(tmp_path: Path) -> None:
    frames = [Image.fromarray(_plane(level)) for level in (1, 2)]
    frames[0].save(tmp_path / "x.png", save_all=True, append_images=frames[1:])
    assert _levels(tmp_path / "x.png") == [[1] * 3]


def test_mpo_is_its_first_picture(tmp_path: Path) -> None:
    frames = [Image.fromarray(_plane(level, 16, 16)) for level in (10, 200)]
    frames[0].save(tmp_path / "x.mpo", save_all=True, append_images=frames[1:])
    (tmp_path / "x.mpo").rename(tmp_path / "x.jpg")
    assert _levels(tmp_path / "x.jpg") == [[10] * 3]


def test_at_most_one_decoded_page_is_kept(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "x.tif"
    tifffile.imwrite(path, np.zeros((6, 300, 400), np.uint8), photometric="minisblack")
    from hptl_deploy.tiling import Region

    with open_micrograph(path) as micrograph:
        micrograph.pages[0].read(Region(0, 1, 0, 1))
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for page in micrograph.pages:
            page.read(Region(0, 1, 0, 1))
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
    assert grown < 1.5 * 300 * 400 * 3
