"""What every reader owes for every kind of file."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from hptl_deploy.errors import MicrographError
from hptl_deploy.micrographs import MICROGRAPH_SUFFIXES, open_micrograph
from hptl_deploy.tiling import Region
from support.czi_samples import CZI_SAMPLES
from support.lif_samples import LIF_SAMPLES
from support.micrograph_samples import RED, SAMPLES, Sample
from support.nd2_samples import ND2_SAMPLES
from support.vsi_samples import VSI_SAMPLES

VENDORS = {"pylibCZIrw": CZI_SAMPLES, "liffile": LIF_SAMPLES, "nd2": ND2_SAMPLES}
"""Samples that a package reads which is not always there."""


@pytest.fixture(
    params=[
        *SAMPLES,
        *VSI_SAMPLES,
        *(
            pytest.param(
                sample, marks=pytest.mark.skipif(find_spec(package) is None, reason=package)
            )
            for package, samples in VENDORS.items()
            for sample in samples
        ),
    ],
    ids=lambda sample: sample.name,
)
def sample(request: pytest.FixtureRequest) -> Sample:
    chosen = request.param
    assert isinstance(chosen, Sample)
    return chosen


def test_pages_shapes_and_pixels(sample: Sample, tmp_path: Path) -> None:
    with open_micrograph(sample.file(tmp_path)) as micrograph:
        assert len(micrograph.pages) == len(sample.pages)
        for index, (page, expected) in enumerate(zip(micrograph.pages, sample.pages, strict=True)):
            assert page.index == index
            assert (page.height, page.width) == expected.shape[:2]
            pixels = page.read()
            assert pixels.dtype == np.uint8
            assert pixels.flags.c_contiguous
            assert pixels.shape == expected.shape
            difference = np.abs(pixels.astype(int) - expected.astype(int))
            assert int(difference.max()) <= sample.tolerance


def test_region_equals_slice_of_the_whole(sample: Sample, tmp_path: Path) -> None:
    with open_micrograph(sample.file(tmp_path)) as micrograph:
        for page in reversed(micrograph.pages):
            whole = page.read()
            height, width = page.height, page.width
            for region in (
                Region(0, height, 0, width),
                Region(0, 1, 0, 1),
                Region(height - 1, height, width - 1, width),
                Region(2, height - 3, 5, width - 1),
                Region(height // 2, height // 2, 0, width),
            ):
                assert np.array_equal(page.read(region), whole[region.slices])


def test_bands_equal_the_whole(sample: Sample, tmp_path: Path) -> None:
    with open_micrograph(sample.file(tmp_path)) as micrograph:
        for page in micrograph.pages:
            whole = page.read()
            with page.bands(overlap=3) as bands:
                for top in range(0, page.height, 8):
                    bottom = min(page.height, top + 11)
                    assert np.array_equal(bands.read(top, bottom), whole[top:bottom])


def test_result_belongs_to_the_caller(sample: Sample, tmp_path: Path) -> None:
    with open_micrograph(sample.file(tmp_path)) as micrograph:
        page = micrograph.pages[0]
        for region in (None, Region(0, 4, 0, 4)):
            first = page.read(region)
            kept = first.copy()
            first[...] = 99
            assert np.array_equal(page.read(region), kept)


def test_calibration(sample: Sample, tmp_path: Path) -> None:
    with open_micrograph(sample.file(tmp_path)) as micrograph:
        for page in micrograph.pages:
            if sample.pixel_size_um is None:
                assert page.calibration.pixel_size_um is None
                # Pillow writes 96 dpi into every BMP.
                unset = "BMP: 96 dpi is a screen's" if sample.suffix == ".bmp" else "not stated"
                assert page.calibration.source == unset
            else:
                assert page.calibration.pixel_size_um == pytest.approx(sample.pixel_size_um)


def test_closed_file_is_a_sentence(sample: Sample, tmp_path: Path) -> None:
    micrograph = open_micrograph(sample.file(tmp_path))
    page = micrograph.pages[0]
    micrograph.close()
    micrograph.close()
    with pytest.raises(MicrographError, match=r"^was closed before its pixels were read$"):
        page.read()


def test_region_outside_is_a_mistake_of_the_caller(sample: Sample, tmp_path: Path) -> None:
    with open_micrograph(sample.file(tmp_path)) as micrograph:
        page = micrograph.pages[0]
        with pytest.raises(ValueError, match="leaves the page"):
            page.read(Region(0, page.height + 1, 0, 1))


def test_unicode_path_and_release(sample: Sample, tmp_path: Path) -> None:
    path = tmp_path / f"µm größe 日本{sample.suffix.upper()}"
    sample.write(path.with_suffix(sample.suffix))
    path.with_suffix(sample.suffix).rename(path)
    with open_micrograph(path) as micrograph:
        assert micrograph.path == path
        micrograph.pages[0].read()
    path.unlink()


def test_quiet(
    sample: Sample,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
) -> None:
    path = sample.file(tmp_path)
    recwarn.clear()
    with open_micrograph(path) as micrograph:
        micrograph.pages[0].read()
    assert capfd.readouterr() == ("", "")
    assert not list(recwarn)


def test_every_reader_has_a_red_fixture() -> None:
    samples = [*SAMPLES, *VSI_SAMPLES, *chain(*VENDORS.values())]
    suffixes = {"." + s.suffix.rpartition(".")[2] for s in samples if s.pages[0] is RED}
    assert suffixes >= {
        *(".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp", ".czi", ".lif", ".nd2", ".vsi")
    }
    assert suffixes <= set(MICROGRAPH_SUFFIXES)
