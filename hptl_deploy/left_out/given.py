"""Regions that the user leaves out, the same in every micrograph of a run.

Coordinates are pixels from the upper left corner; H and W are a micrograph's height and width.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hptl_deploy.errors import MicrographError, UsageError
from hptl_deploy.tiling import Region

if TYPE_CHECKING:
    from hptl_deploy.left_out.mask import Mask

SCALE_BARS = ("auto", "keep")


@dataclass(frozen=True)
class LeaveOut:
    """What a run is asked to leave out."""

    scale_bar: str = "auto"
    """`auto`: what is burnt in is looked for; `keep`: it is segmented as any other pixel is."""
    crop_bottom: int = 0
    """Rows at the bottom of every micrograph."""
    ignore: tuple[Region, ...] = ()
    """Rectangles; what lies outside of a micrograph has no effect on it."""
    mask: Mask | None = None

    def check(self) -> None:
        """Raise UsageError for what cannot be meant."""
        if self.scale_bar not in SCALE_BARS:
            raise UsageError(f"--scale-bar {self.scale_bar}: expected {' or '.join(SCALE_BARS)}")
        if self.crop_bottom < 0:
            raise UsageError(f"--crop-bottom {self.crop_bottom}: expected 0 rows or more")
        for region in self.ignore:
            if min(region.x0, region.y0) < 0 or min(region.shape) < 1:
                raise _bad_region(",".join(map(str, as_given(region))))

    def settings(self) -> dict[str, Any]:
        """The part of a run's settings that this is; of the mask, what it holds."""
        return {
            "scale_bar": self.scale_bar,
            "crop_bottom": self.crop_bottom,
            "ignore": [as_given(region) for region in self.ignore],
            "ignore_mask": None if self.mask is None else self.mask.sha256,
        }

    def check_page(self, height: int, width: int) -> None:
        """Raise MicrographError where the mask is of another size than the micrograph."""
        if self.mask is not None and self.mask.shape != (height, width):
            rows, columns = self.mask.shape
            raise MicrographError(
                f"is {width} x {height} px, but the mask {self.mask.name} (--ignore-mask) is "
                f"{columns} x {rows} px; they must be the same"
            )

    def regions(self, height: int, width: int) -> list[tuple[str, Region]]:
        """What is left out of a micrograph besides the mask: words, and where.

        A rectangle outside of it is named, too, with a region of no pixels.
        """
        found = []
        rows = min(self.crop_bottom, height)
        if rows:
            found.append((f"bottom {rows} rows", Region(height - rows, height, 0, width)))
        for given in self.ignore:
            inside = given.shared_with(Region(0, height, 0, width))
            if inside is None:
                found.append((f"region {placed(given)}: outside", Region(0, 0, 0, 0)))
            else:
                found.append((f"region {placed(inside)}", inside))
        return found


def option_words(settings: Mapping[str, Any], mask: str | None) -> list[str]:
    """The options that give such `settings`, with the `mask` file's name."""
    words = []
    if settings.get("scale_bar", "auto") != "auto":
        words += ["--scale-bar", settings["scale_bar"]]
    if settings.get("crop_bottom"):
        words += ["--crop-bottom", str(settings["crop_bottom"])]
    for region in settings.get("ignore", ()):
        words += ["--ignore", ",".join(map(str, region))]
    return words if mask is None else [*words, "--ignore-mask", mask]


def parse_ignore(text: str) -> Region:
    """`x,y,w,h` in px as a region. Raises UsageError for anything else."""
    if re.fullmatch(r"\s*\d{1,9}\s*(,\s*\d{1,9}\s*){3}", text, re.ASCII) is None:
        raise _bad_region(text)
    x, y, width, height = map(int, text.split(","))
    if min(width, height) < 1:
        raise _bad_region(text)
    return Region(y, y + height, x, x + width)


def as_given(region: Region) -> list[int]:
    """[x, y, w, h], as `parse_ignore` takes them."""
    return [region.x0, region.y0, region.width, region.height]


def placed(region: Region) -> str:
    """`612 x 88 px at (1890, 1780)`: width, height, and column and row of its first pixel."""
    return f"{region.width} x {region.height} px at ({region.x0}, {region.y0})"


def _bad_region(text: str) -> UsageError:
    return UsageError(
        f"--ignore {text}: expected four whole numbers x,y,w,h in px, such as 1800,1700,700,200 "
        "(column and row of the upper left corner, width and height)"
    )
