"""OTSU: thresholds against scikit-image's single one and brute force; bands to phases."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from skimage.filters import threshold_otsu

from hptl_deploy.errors import DataSetError, RecipeError, RunError
from hptl_train.recipe import RivalRecipe, load_recipe
from hptl_train.rivals import load_rival, make_rival
from hptl_train.rivals.otsu import Otsu, flattened, thresholds
from hptl_train.rivals.tables import OtsuTable
from support.labelled import draw

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hptl_train.data.crops import Frame


def otsu(histogram_bins: int = 256, light_sigma: float = 0.0) -> Otsu:
    return Otsu(OtsuTable(histogram_bins=histogram_bins, light_sigma=light_sigma))


def drawn(count: int, seed: int = 0) -> list[Frame]:
    return [draw((90, 120), np.random.default_rng([seed, n])) for n in range(count)]


def grey_frame(grey: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Frame:
    return np.repeat(grey[..., None], 3, axis=2), labels


def spread(grey: NDArray[np.uint8], limits: tuple[int, ...]) -> float:
    """Variance between the bands that end with `limits`, over all pixels."""
    bands = np.searchsorted(limits, grey.ravel())
    means = np.zeros(grey.size)
    for band in np.unique(bands):
        means[bands == band] = grey.ravel()[bands == band].mean()
    return float(means.var())


@pytest.mark.parametrize("seed", range(3))
def test_two_bands_are_parted_by_the_classical_threshold(seed: int) -> None:
    grey = drawn(1, seed)[0][0][..., 0]
    found = thresholds(grey.astype(np.float32), 2)
    assert found is not None
    assert found.tolist() == [threshold_otsu(grey)]


@pytest.mark.parametrize(("bands", "seed"), [(3, 0), (3, 1), (4, 2)])
def test_more_bands_have_the_largest_variance_between_them(bands: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    levels = np.sort(rng.choice(256, 11, replace=False))
    grey = rng.choice(levels, (20, 20), p=rng.dirichlet(np.ones(11))).astype(np.uint8)
    found = thresholds(grey.astype(np.float32), bands)
    assert found is not None
    best = max(spread(grey, limits) for limits in itertools.combinations(levels, bands - 1))
    assert spread(grey, tuple(found)) == pytest.approx(best, rel=1e-5)


def test_fewer_bins_part_at_a_bins_last_level() -> None:
    grey = drawn(1)[0][0][..., 0]
    found = thresholds(grey.astype(np.float32), 3, bins=16)
    assert found is not None
    ends = range(15, 256, 16)
    assert set(found) <= set(ends)
    # As if each grey were the number of its bin.
    best = max(spread(grey // 16, (a // 16, b // 16)) for a, b in itertools.combinations(ends, 2))
    assert spread(grey // 16, tuple(found // 16)) == pytest.approx(best, rel=1e-5)


def test_bands_are_the_phases_that_labels_say() -> None:
    """Dark disks are phase 1, grey bars phase 2, the pale matrix phase 0."""
    rival = otsu()
    rival.fit(drawn(3), 3, seed=0)
    pixels, labels = drawn(1, seed=9)[0]
    assert (rival.classes(pixels) == labels).mean() > 0.999
    turned = [(255 - pixels, labels) for pixels, labels in drawn(3)]
    rival.fit(turned, 3, seed=0)
    assert (rival.classes(255 - pixels) == labels).mean() > 0.999
    assert rival.loss(turned) is None
    found, loss = rival.judged(255 - pixels, labels)
    assert loss is None
    assert np.array_equal(found, rival.classes(255 - pixels))


def test_every_micrograph_has_its_own_thresholds() -> None:
    rival = otsu()
    rival.fit(drawn(3), 3, seed=0)
    pixels = drawn(1, seed=9)[0][0]
    # No threshold of the first lies between the phases of the second.
    darker = (pixels * 0.25).astype(np.uint8)
    agreement = (rival.classes(darker) == rival.classes(pixels)).mean()
    assert agreement > 0.99


def test_ignored_pixels_teach_nothing() -> None:
    """Half of the disks' pixels are painted white and not labelled: the rank stays."""
    pixels, labels = drawn(1)[0]
    white = labels == 1
    white[:, ::2] = False
    taught = np.where(white[..., None], 255, pixels).astype(np.uint8), np.where(white, 255, labels)
    rival = otsu()
    rival.fit([(taught[0], taught[1].astype(np.uint8))], 3, seed=0)
    assert (rival.classes(pixels) == labels).mean() > 0.999


@pytest.mark.parametrize("phases", [2, 3, 4])
def test_phases_are_ranked_by_their_median(phases: int) -> None:
    """Few pixels far off move a mean, not a median."""
    rng = np.random.default_rng(phases)
    order = rng.permutation(phases)
    labels = np.repeat(np.arange(phases, dtype=np.uint8), 400).reshape(phases, 400)
    grey = np.argsort(order)[labels] * 60 + rng.integers(0, 9, labels.shape)
    astray = grey.copy()
    astray[:, :160] = 255 - astray[:, :160]
    rival = otsu()
    rival.fit([grey_frame(astray.astype(np.uint8), labels)], phases, seed=0)
    assert np.array_equal(rival.classes(grey_frame(grey.astype(np.uint8), labels)[0]), labels)


def test_phases_without_training_pixels_get_no_band() -> None:
    rival = otsu()
    pixels, labels = drawn(1)[0]
    rival.fit([(pixels, labels)], 5, seed=0)
    assert (rival.classes(pixels) == labels).mean() > 0.999
    rival.fit([(pixels, np.full_like(labels, 3))], 5, seed=0)
    assert (rival.classes(pixels) == 3).all()


def test_flat_frames_go_to_the_nearest_median() -> None:
    """Medians are 150 (matrix), 40 (disks), 95 (bars); two greys cannot be three bands."""
    rival = otsu()
    rival.fit(drawn(3), 3, seed=0)
    for grey, phase in ((120, 2), (130, 0), (70, 2), (60, 1), (0, 1), (255, 0)):
        assert (rival.classes(np.full((8, 9, 3), grey, np.uint8)) == phase).all()
    two = np.full((8, 9, 3), 60, np.uint8)
    two[4:] = 200
    assert np.array_equal(rival.classes(two), np.repeat([1, 0], 4)[:, None] * np.ones((1, 9)))


def test_uneven_light_can_be_divided_out() -> None:
    pixels, labels = draw((240, 320), np.random.default_rng(0))
    light = np.linspace(0.4, 1.0, 320)[None, :, None]
    uneven = (pixels * light).astype(np.uint8)
    shares = []
    for sigma in (0.0, 60.0):
        rival = otsu(light_sigma=sigma)
        rival.fit([(uneven, labels)], 3, seed=0)
        shares.append((rival.classes(uneven) == labels).mean())
    assert shares[0] < 0.8
    assert shares[1] > 0.94


def test_even_specimens_are_even_without_their_light() -> None:
    """A Gaussian leaves a straight slope as it is, three sigma from the borders."""
    slope = np.linspace(60, 240, 301, dtype=np.float32)[None].repeat(300, axis=0)
    flat = flattened(slope, 20.0)
    assert flat.shape == slope.shape
    # Four columns of 0.6 levels each share one value of the light, the first one's.
    assert flat[:, 60:240] / 128 - 1 == pytest.approx(0, abs=3.1 * 0.6 / 96)


def test_what_was_fitted_can_be_kept(tmp_path: Path) -> None:
    recipe = load_recipe("otsu")
    assert isinstance(recipe, RivalRecipe)
    rival = make_rival(recipe)
    pixels, labels = drawn(1)[0]
    rival.fit([(pixels, labels)], 4, seed=0)
    rival.save(tmp_path / "fitted")
    again = load_rival(recipe, tmp_path / "fitted")
    assert np.array_equal(again.classes(pixels), rival.classes(pixels))


def test_what_cannot_be_used_is_said(tmp_path: Path) -> None:
    pixels, labels = drawn(1)[0]
    with pytest.raises(DataSetError, match="the training split has no labelled pixel"):
        otsu().fit([(pixels, np.full_like(labels, 255))], 3, seed=0)
    seven = np.repeat(np.arange(7, dtype=np.uint8), 20).reshape(7, 20)
    with pytest.raises(RecipeError) as raised:
        otsu().fit([grey_frame(seven, seven)], 7, seed=0)
    assert str(raised.value) == (
        "[otsu]: 7 phases and histogram_bins = 256 leave 3.6e+11 sets of thresholds to try, "
        "expected at most 1e+09. Lower histogram_bins"
    )
    otsu(histogram_bins=32).fit([grey_frame(seven, seven)], 7, seed=0)
    path = tmp_path / "fitted"
    with pytest.raises(RunError, match=f"^{path}: what was fitted cannot be read"):
        otsu().load(path)
    path.write_bytes(b"no array at all, and long enough for a header")
    with pytest.raises(RunError, match=f"^{path}: what was fitted cannot be read"):
        otsu().load(path)


def test_rivals_need_neither_torch_nor_a_library_before_its_time() -> None:
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "import hptl_train.rivals\n"
        "assert not {'numpy', 'scipy', 'skimage', 'sklearn'} & set(sys.modules)\n"
        "import hptl_train.rivals.otsu, hptl_train.rivals.svm\n"
        "assert not {'sklearn', 'skimage'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
