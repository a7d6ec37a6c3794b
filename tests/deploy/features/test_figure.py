from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hptl_deploy.features.figure import Shown, draw_figure, scaled
from hptl_deploy.features.layers import Layer
from hptl_deploy.features.maps import LayerMaps

Array = NDArray[Any]
Place = tuple[int, int]


def row(name: str, pitch: str, maps: NDArray[np.float32], dead: tuple[int, ...] = ()) -> LayerMaps:
    """A row that shows every live map, the last channel first."""
    channels = len(maps)
    shown = tuple(c for c in reversed(range(channels)) if c not in dead)
    layer = Layer(name, int(name[4]), channels, "value")
    return LayerMaps(layer, Fraction(pitch), maps, shown, dead, 0.0, 0.0)


def answers(seed: int, channels: int, height: int, width: int) -> NDArray[np.float32]:
    """A third of them 0."""
    drawn = np.random.default_rng(seed).normal(0.5, 1, (channels, height, width))
    return np.maximum(drawn, 0).astype(np.float32)


def micrograph(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(9).integers(0, 250, (height, width, 3), np.uint8)


def drawn(shown: Shown, rows: list[LayerMaps], caption: str = "Caption.") -> NDArray[np.uint8]:
    return np.asarray(draw_figure(shown, rows, caption))


def greys(map_: Array) -> Array:
    """What is said of a map's scaling, [h, w, 3]."""
    white = np.sort(map_[map_ > 0])
    place = 0.99 * (white.size - 1)
    low = int(place)
    level = white[low] + (place - low) * (white[min(low + 1, white.size - 1)] - white[low])
    return np.repeat(np.round(255 * np.minimum(1, map_ / level) ** 0.5)[..., None], 3, axis=2)


def places(figure: NDArray[np.uint8], picture: Array) -> list[Place]:
    """(y, x) wherever `picture` lies in `figure`, to one level of grey."""
    height, width = picture.shape[:2]
    tops, lefts = np.indices((len(figure) - height + 1, figure.shape[1] - width + 1)).reshape(2, -1)
    # A handful of pixels rules out nearly every place.
    for y, x in np.random.default_rng(0).integers(0, (height, width), (30, 2)):
        alike = (abs(figure[tops + y, lefts + x] - picture[y, x].astype(float)) <= 1).all(axis=1)
        tops, lefts = tops[alike], lefts[alike]
    return [
        (int(y), int(x))
        for y, x in zip(tops, lefts, strict=True)
        if abs(figure[y : y + height, x : x + width].astype(int) - picture).max() <= 1
    ]


def place(figure: NDArray[np.uint8], picture: Array) -> Place:
    (found,) = places(figure, picture)
    return found


def grown(picture: Array, times: int) -> Array:
    return picture.repeat(times, axis=0).repeat(times, axis=1)


def halved(picture: Array) -> Array:
    """Mean of 2 x 2."""
    height, width = picture.shape[0] // 2, picture.shape[1] // 2
    blocks = picture.reshape(height, 2, width, 2, *picture.shape[2:])
    found: Array = blocks.astype(float).mean(axis=(1, 3))
    return found


def test_every_map_stands_in_its_place() -> None:
    pixels = micrograph(64, 64)
    fine, coarse = answers(1, 3, 64, 64), answers(2, 4, 32, 32)
    figure = drawn(
        Shown(pixels, 64, 64, None), [row("conv1_2", "1", fine), row("conv2_2", "2", coarse, (1,))]
    )
    first = [grown(pixels, 4), *(greys(grown(fine[c], 4)) for c in (2, 1, 0))]
    # The micrograph stands in the second row as coarse as its maps.
    second = [grown(halved(pixels), 8), *(greys(grown(coarse[c], 8)) for c in (3, 2, 0))]
    found = [[place(figure, picture) for picture in line] for line in (first, second)]
    columns = [x for _, x in found[0]]
    assert columns == [x for _, x in found[1]]
    assert np.diff(columns).tolist() == [264, 264, 264]
    (top,), (below,) = ({y for y, _ in line} for line in found)
    assert below - top > 256
    assert figure.shape[1] - (columns[-1] + 256) == 24


def test_maps_finer_than_the_figure_are_averaged() -> None:
    pixels, maps = micrograph(256, 256), answers(1, 1, 512, 512)
    figure = drawn(Shown(pixels, 256, 256, None), [row("conv1_2", "1/2", maps)])
    assert place(figure, greys(halved(maps[0]))) > place(figure, pixels)


def test_what_lies_beyond_the_micrograph_is_not_drawn() -> None:
    pixels, maps = micrograph(64, 64), answers(1, 1, 24, 32)
    maps[0, 23:] = 5  # below the part but for one row of pixels
    maps[0, :, 31:] = 0
    figure = drawn(Shown(pixels, 47, 64, None), [row("conv2_1", "2", maps)])
    seen = grown(maps[0], 8)[: 47 * 4]
    assert place(figure, greys(seen))
    assert place(figure, grown(halved(pixels), 8)[: 47 * 4])


def test_rows_and_columns_add_up() -> None:
    shown, maps = Shown(micrograph(64, 64), 64, 64, None), answers(1, 5, 64, 64)
    one, two, three = (
        drawn(shown, [row("conv1_1", "1", maps)] * count).shape for count in (1, 2, 3)
    )
    assert three[0] - two[0] == two[0] - one[0] > 256
    fewer = drawn(shown, [row("conv1_1", "1", maps[:3])]).shape
    assert one[1] - fewer[1] == 2 * 264


def test_a_longer_caption_takes_more_lines_and_stays_inside() -> None:
    shown, rows = (
        Shown(micrograph(64, 64), 64, 64, None),
        [row("conv1_1", "1", answers(1, 1, 64, 64))],
    )
    short, long = (drawn(shown, rows, "Some words. " * count) for count in (1, 60))
    lines = (long.shape[0] - short.shape[0]) / 35
    assert lines == round(lines) >= 10
    assert long.shape[1] == short.shape[1]
    assert (long[:, -24:] == 255).all()
    assert (long[-24:] == 255).all()
    assert (short[-59:-24] < 255).any()


def test_a_layer_that_answers_nowhere_has_a_row_of_its_own() -> None:
    pixels = micrograph(64, 64)
    nothing = row("conv5_4", "1", np.zeros((2, 64, 64), np.float32), (0, 1))
    figure = drawn(Shown(pixels, 64, 64, None), [nothing, nothing])
    (_, first), (_, second) = places(figure, grown(pixels, 4))
    assert first == second
    assert figure.shape[1] == first + 256 + 24


@pytest.mark.parametrize(
    ("pixel_size_um", "length"),
    [(0.1, 100), (0.04, 125), (1.0, 100)],  # 20, 10 and 200 um at half a figure pixel per pixel
)
def test_the_scale_bar_is_as_long_as_it_says(pixel_size_um: float, length: int) -> None:
    black = np.zeros((512, 512, 3), np.uint8)
    maps = answers(1, 1, 512, 512)
    with_bar = drawn(Shown(black, 512, 512, pixel_size_um), [row("conv1_1", "1", maps)] * 2)
    y, x = place(with_bar, halved(black))  # the second row's micrograph is as it was
    line = y - (with_bar.shape[0] - 48 - 35) // 2  # the first row's
    cell = with_bar[line : line + 256, x : x + 256]
    white = np.argwhere((cell == 255).all(axis=2).sum(axis=1) > 90)
    bar = cell[white[0, 0]]
    assert abs((bar == 255).all(axis=1).sum() + 2 - length) <= 1  # and its outline


@pytest.mark.parametrize("shape", [(512, 16), (16, 512)])
def test_narrow_parts_leave_room_for_words(shape: Place) -> None:
    pixels, maps = micrograph(*shape), answers(1, 2, *shape)
    figure = drawn(Shown(pixels, *shape, 0.1), [row("conv1_1", "1", maps)] * 2)
    assert figure.shape[1] > 3 * 130  # "micrograph" above every column
    for map_ in maps:
        found = places(figure, greys(halved(map_)))
        assert len(found) == 2
        for _, x in found:
            assert (figure[: -24 - 35, x - 4 : x] == 255).all()


def test_scaling() -> None:
    map_ = answers(3, 1, 40, 50)[0]
    np.testing.assert_allclose(scaled(map_), greys(map_)[..., 0], atol=1)
    assert (scaled(map_) == 0).sum() >= (map_ == 0).sum() > 100
    assert not scaled(np.zeros((4, 5), np.float32)).any()
    lone = np.zeros((4, 5), np.float32)
    lone[1, 2] = 1e-9
    assert np.array_equal(scaled(lone), 255 * (lone > 0))
