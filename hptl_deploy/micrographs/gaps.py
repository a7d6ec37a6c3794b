"""What no tile of a mosaic covers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hptl_deploy.tiling import Region


def gaps_between(tiles: Sequence[Region], height: int, width: int) -> tuple[Region, ...]:
    """Rectangles that together are the pixels of [H, W] which none of `tiles` covers.

    They do not overlap; top to bottom, then left to right by their first pixel.
    """
    edges = sorted({0, height, *(y for tile in tiles for y in (tile.y0, tile.y1))})
    coming = sorted(tiles, key=lambda tile: tile.y0, reverse=True)
    here: list[Region] = []
    open_since: dict[tuple[int, int], int] = {}
    found: list[Region] = []
    for top in edges:
        here = [tile for tile in here if tile.y1 > top]
        while coming and coming[-1].y0 == top:
            here.append(coming.pop())
        across = set(_uncovered(here, width)) if top < height else set()
        for span in [span for span in open_since if span not in across]:
            found.append(Region(open_since.pop(span), top, *span))
        for span in across:
            open_since.setdefault(span, top)
    return tuple(sorted(found, key=lambda gap: (gap.y0, gap.x0)))


def _uncovered(tiles: Iterable[Region], width: int) -> list[tuple[int, int]]:
    """What is left of columns 0 to `width` beside `tiles`."""
    left, reached = [], 0
    for start, end in sorted((tile.x0, tile.x1) for tile in tiles):
        if start > reached:
            left.append((reached, start))
        reached = max(reached, end)
    return [*left, (reached, width)] if reached < width else left
