"""The panel figure: a test micrograph, its truth and every method, each with an enlarged detail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.files import atomic_path
from hptl_deploy.phases import IGNORE, Colour, Phase, palette
from hptl_deploy.windows import window_sums

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_DETAIL_SHARE = 6
"""The detail's sides are this part of the frame's."""
_COLUMNS = 4
_SHOWN = 640
"""Pixels per row of a whole frame in the figure; more would not be seen."""


def disagreement(
    maps: Sequence[NDArray[np.uint8]], truth: NDArray[np.uint8], phases: int
) -> NDArray[np.float64]:
    """How much class maps [H, W] differ, pixel by pixel; 0 where there is no truth.

    The share of maps that are not of the pixel's most common class, divided by the share of the
    frame that the pixel's true phase covers: else a method that fails on the matrix, which is
    nearly all, would outweigh all that happens at the particles.
    """
    votes = np.stack(
        [sum((one == phase).astype(np.int64) for one in maps) for phase in range(phases)]
    )
    differ: NDArray[np.float64] = 1 - votes.max(0) / len(maps)
    for phase in range(phases):
        there = truth == phase
        differ[there] /= max(1, int(there.sum()))
    differ[truth == IGNORE] = 0
    return differ * truth.size


def busiest_window(differ: NDArray[np.float64]) -> tuple[int, int, int, int]:
    """(top, left, height, width) of the detail that holds the most of `differ` [H, W].

    A sixth of the frame each way, at least 32 px; of equals, the uppermost, then leftmost.
    """
    height, width = differ.shape
    rows = min(height, max(32, height // _DETAIL_SHARE))
    columns = min(width, max(32, width // _DETAIL_SHARE))
    sums = window_sums(differ, rows, columns)
    top, left = np.unravel_index(int(sums.argmax()), sums.shape)
    return int(top), int(left), rows, columns


def draw_panel(
    pixels: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    maps: Mapping[str, NDArray[np.uint8]],
    phases: Sequence[Phase],
    picture: Path,
    title: str,
) -> None:
    """Write the panel as a PNG: `pixels` [H, W, 3], `truth` and each of `maps` [H, W].

    The detail lies where the methods disagree most; a box on the original shows where.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.patches import Patch, Rectangle
    from PIL import Image

    window = busiest_window(disagreement(list(maps.values()), truth, len(phases)))
    colours = palette(phases)
    tiles = {"original": pixels, "truth": colours[truth]}
    tiles |= {name: colours[found] for name, found in maps.items()}
    height, width = truth.shape
    lines = -(-len(tiles) // _COLUMNS)
    inch = 3.0
    figure, axes = plt.subplots(
        2 * lines,
        _COLUMNS,
        figsize=(inch * _COLUMNS, 2 * lines * (inch * height / width + 0.18)),
        squeeze=False,
        layout="constrained",
    )
    for axis in axes.flat:
        axis.axis("off")
    step = max(1, width // _SHOWN)
    top, left, rows, columns = window
    for number, (name, tile) in enumerate(tiles.items()):
        line, column = divmod(number, _COLUMNS)
        whole, detail = axes[2 * line][column], axes[2 * line + 1][column]
        # Every n-th pixel of a micrograph would be noise; classes have no mean.
        small = (
            np.array(Image.fromarray(tile).reduce(step))
            if name == "original"
            else tile[::step, ::step]
        )
        _show(whole, small, name)
        box = (left / step, top / step), columns / step, rows / step
        whole.add_patch(Rectangle(*box, fill=False, edgecolor="cyan", linewidth=1.2))
        _show(detail, tile[top : top + rows, left : left + columns], "")
    handles = [
        Patch(facecolor=_share(phase.colour), edgecolor="0.4", label=phase.name) for phase in phases
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    figure.suptitle(title, fontsize="medium")
    with atomic_path(picture) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    plt.close(figure)


def _share(colour: Colour) -> tuple[float, float, float]:
    red, green, blue = colour
    return red / 255, green / 255, blue / 255


def _show(axis: Axes, picture: NDArray[np.uint8], title: str) -> None:
    axis.imshow(picture, interpolation="nearest")
    axis.set_title(title, fontsize="medium")
