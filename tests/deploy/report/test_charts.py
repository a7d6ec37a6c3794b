from __future__ import annotations

import re

import numpy as np
import pytest

from hptl_deploy.report.charts import (
    Axis,
    Logarithmic,
    Share,
    bars,
    bins,
    dots,
    round_step,
    shares,
)
from support.pages import Page


@pytest.mark.parametrize(
    ("least", "step"), [(0.7, 1), (1, 1), (1.01, 2), (3, 5), (7, 10), (0.03, 0.05), (420, 500)]
)
def test_round_steps(least: float, step: float) -> None:
    assert round_step(least) == pytest.approx(step)


@pytest.mark.parametrize("seed", range(20))
def test_bins_count_as_numpy_does(seed: int) -> None:
    generator = np.random.default_rng(seed)
    values = generator.gamma(2, 10.0 ** generator.integers(-3, 4), generator.integers(1, 300))
    edges, counts = bins(values.tolist())
    assert counts == np.histogram(values, edges)[0].tolist()
    assert sum(counts) == len(values)
    assert 1 <= len(counts) <= 16
    assert np.allclose(np.diff(edges), edges[1] - edges[0])


@pytest.mark.parametrize("value", [0.0, 3.7, 100.0])
def test_equal_values_share_a_bin(value: float) -> None:
    edges, counts = bins([value] * 5)
    assert counts.count(5) == 1
    assert edges[0] <= value <= edges[-1]


def test_a_value_on_an_edge_is_of_the_bin_above() -> None:
    edges, counts = bins([0, 1, 2, 14])
    assert edges == list(range(15))
    assert [counts[0], counts[1], counts[2], counts[-1]] == [1, 1, 1, 1]


def test_heights_of_bars_are_to_scale() -> None:
    drawn = bars([0, 1, 2, 4], [10, 5, 0], (255, 0, 0), "x", "y", "t")
    heights = [float(one) for one in re.findall(r'height="([\d.]+)" fill="#ff0000"', drawn)]
    widths = [float(one) + 1 for one in re.findall(r'width="([\d.]+)" height="[\d.]+" f', drawn)]
    assert heights[0] == pytest.approx(2 * heights[1])
    assert heights[2] == 0
    assert widths[2] == pytest.approx(2 * widths[0], rel=0.01)


def test_dots_lie_where_their_values_are() -> None:
    drawn = dots([1, 2, 4], (0, 0, 255), "x", "t", 2.0, 0.5)
    places = [float(x) for x in re.findall(r'cx="([\d.]+)"', drawn)]
    assert places[2] - places[0] == pytest.approx(3 * (places[1] - places[0]), rel=0.01)
    (mean,) = re.findall(r'x1="([\d.]+)"[^>]*class="mean"', drawn)
    assert float(mean) == pytest.approx(places[1], abs=0.1)
    ((x, w),) = re.findall(r'x="([\d.]+)" y="[\d.]+" width="([\d.]+)"[^>]*class="band"', drawn)
    assert float(x) + float(w) / 2 == pytest.approx(places[1], abs=0.1)
    assert float(w) == pytest.approx(places[1] - places[0], abs=0.1)


def test_words_in_a_drawing_are_escaped() -> None:
    page = Page(bars([0, 1], [1], (1, 2, 3), "<x>", "&", '"><script>alert(1)</script>'))
    assert not [tag for tag, _ in page.tags if tag == "script"]
    assert "<x>" in page.text
    assert '"><script>alert(1)</script>' in page.text


def test_ticks_are_round_and_within() -> None:
    axis = Axis(0.37, 1.62, 0, 100)
    assert axis.ticks(6) == pytest.approx([0.5, 1.0, 1.5])
    assert axis.place(0.37) == 0
    assert axis.place(1.62) == 100


def test_size_classes_of_equal_ratio_are_equally_wide() -> None:
    classes = [Share(1, 2, 0.5, 0.1), Share(2, 4, 0.3, 0.4), Share(4, 8, 0.2, 0.5)]
    drawn = shares(classes, (255, 0, 0), "x", "t")
    found = re.findall(r'width="([\d.]+)" height="([\d.]+)" fill="#ff0000"', drawn)
    widths, heights = zip(*((float(w), float(h)) for w, h in found), strict=True)
    assert widths == pytest.approx([widths[0]] * 3, abs=0.05)
    assert heights == pytest.approx([heights[0], 0.6 * heights[0], 0.4 * heights[0]], abs=0.05)
    (path,) = re.findall(r'd="M[\d.]+ (\d+)V([\d.]+)H[\d.]+V([\d.]+)H[\d.]+V([\d.]+)H', drawn)
    base, *tops = map(float, path)
    assert [base - top for top in tops] == pytest.approx(
        [0.2 * heights[0], 0.8 * heights[0], heights[0]], abs=0.1
    )


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0.3, 12, [0.5, 1, 2, 5, 10]), (0.05, 900, [0.1, 1, 10, 100]), (2, 8, [2, 5])],
)
def test_logarithmic_ticks(low: float, high: float, ticks: list[float]) -> None:
    axis = Logarithmic(low, high, 0, 100)
    assert axis.ticks(6) == pytest.approx(ticks)
    assert axis.place((low * high) ** 0.5) == pytest.approx(50)
