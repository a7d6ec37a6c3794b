"""OTSU: thresholds against scikit-image's single one and brute force; bands to phases."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from skimage.filters import threshold_otsu

from hptl_deploy.errors import DataSetError, RecipeError, RunError
from hptl_train.compare import Plan, compare
from hptl_train.recipe import RivalRecipe, Wishes, load_recipe
from hptl_train.rivals import load_rival, make_rival
from hptl_train.rivals.otsu import Otsu, flattened, searched_bins, thresholds
from hptl_train.rivals.tables import OtsuTable
from support.labelled import draw
from support.rivals import mean_loss
from support.sinks import Recorder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hptl_train.data.crops import Frame


def otsu(histogram_bins: int = 256, light_sigma: float = 0.0) -> Otsu:
    return Otsu(OtsuTable(histogram_bins=histogram_bins, light_sigma=light_sigma))


def drawn(count: int, seed: int = 0) -> list[Frame]:
    return [draw((90, 120), np.random.default_rng([seed, n])) for n in range(count)]


def grey_frame(grey: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Frame:
    return np.repeat(grey[..., None], 3, axis=2), labels


def stripes(phases: int) -> Frame:
    """As many rows, each of one phase and one grey: equal steps of whole levels."""
    labels = np.repeat(np.arange(phases, dtype=np.uint8), 20).reshape(phases, 20)
    return grey_frame(labels * np.uint8(250 // phases), labels)


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
    assert mean_loss(rival, turned) is None
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


@pytest.mark.parametrize(
    ("bands", "bins", "searched"),
    [
        *((bands, 256, 256) for bands in range(1, 6)),
        (6, 256, 128),
        (7, 256, 64),
        (8, 256, 32),
        (32, 256, 32),
        (7, 60, 60),
        (8, 90, 45),
        (8, 8, 8),
    ],
)
def test_many_bands_are_searched_on_fewer_bins(bands: int, bins: int, searched: int) -> None:
    assert searched_bins(bands, bins) == searched


@pytest.mark.parametrize("phases", [7, 8])
def test_many_phases_are_parted(phases: int) -> None:
    """Noise leaves more than a bin between any two phases; the recipe's settings."""
    rival = otsu()
    pixels, labels = stripes(phases)
    noise = np.random.default_rng(phases).integers(0, 6, labels.shape, np.uint8)
    pixels = pixels + noise[..., None]
    rival.fit([(pixels, labels)], phases, seed=0)
    bins = searched_bins(phases, 256)
    assert rival.notes == (
        f"thresholds between {phases} phases are searched on {bins} bins of grey, not on the "
        "recipe's 256, which would take too long",
    )
    assert (rival.classes(pixels) == labels).all()
    few = otsu()
    few.fit([(pixels, labels // np.uint8(2))], phases, seed=0)
    assert few.notes == ()


def test_a_comparison_of_many_phases_says_what_was_searched(tmp_path: Path) -> None:
    """Frames of eight stripes each, fitted and scored as `compare` does it."""
    root = tmp_path / "eight"
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for number in range(3):
        pixels, labels = stripes(8)
        Image.fromarray(pixels + np.uint8(number)).save(root / "images" / f"f{number}.png")
        Image.fromarray(labels).save(root / "labels" / f"f{number}.png")
    (root / "dataset.toml").write_text(
        "".join(f'[[phases]]\nname = "{n}"\ncolour = [{n}, 0, 0]\n' for n in range(8)),
        encoding="utf-8",
    )
    sink = Recorder()
    found = compare(root, Plan(("otsu",), 1, Wishes()), tmp_path / "out", "cpu", sink)
    assert found.table.rows["otsu"]["accuracy"].mean == 1
    (note,) = json.loads((tmp_path / "out/runs/otsu-seed0/run.json").read_text())["notes"]
    assert note.startswith("thresholds between 8 phases are searched on 32 bins of grey")
    assert f"otsu: {note}" in sink.notes


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
    for phases, bins, sentence in (
        (
            40,
            256,
            "40 phases have too many sets of thresholds to try, even on the fewest bins of grey "
            "that could part them. Train --recipe svm instead; in a comparison leave otsu out "
            "with --rows",
        ),
        (
            7,
            6,
            "7 phases need as many bins of grey, found histogram_bins = 6. Use a recipe with 7 "
            "or more",
        ),
    ):
        with pytest.raises(RecipeError) as raised:
            otsu(histogram_bins=bins).fit([stripes(phases)], phases, seed=0)
        assert str(raised.value) == f"[otsu]: {sentence}"
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
