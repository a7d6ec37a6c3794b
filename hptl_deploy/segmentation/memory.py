"""How much memory a run may take, decided before it takes any.

    free memory (system and control group, after the model is loaded)
    └── budget: 70 % of it
        ├── frames: a quarter, or less where that is enough; what the queues hold, from decoding
        │   to writing
        └── engine: the rest; what inference needs, capacity.bytes_per_pixel x pixels

A page too large for the quarter is read and written in bands (`banding`).
The budget is recorded in run.json and taken up again by a restart, so that a killed run
cuts its frames as it would have done unbroken.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hptl_deploy.engines.base import Capacity
from hptl_deploy.engines.machine import free_on_card
from hptl_deploy.errors import MicrographError, UsageError
from hptl_deploy.micrographs.base import Page
from hptl_deploy.rescaling.page import Rescaled
from hptl_deploy.segmentation.mosaics.banding import (
    BAND_BYTES,
    LARGE,
    Plan,
    band_pixels,
    plan_bands,
)
from hptl_deploy.tiling import FramePlan, plan_frame

_SHARE = 0.7
_FRAMES_SHARE = 0.25
# A recorded budget is taken up while it leaves this much of what is free now: between two
# starts free memory moves by some per cent.
_STILL_FITS = 0.9

# Bytes per pixel of a frame between decoding and writing, at most: while decoding, a
# 16-bit RGB source (6), its scaled copy (3); behind it the frame (3), its filled-up copy
# for the engine (3), the engine's answer (2), class map and confidence (2), overlay and its
# encoder's copy (6): 16 behind decoding, 20 to be on the safe side of readers' temporaries.
FRAME_BYTES = 20


@dataclass(frozen=True)
class MemoryPlan:
    """The budget of a run, in bytes."""

    budget: int
    device: int | None
    """The engine's share where it works in a card's own memory."""
    free: int
    """What was free when the budget was made."""
    most_frames: int = sys.maxsize
    """More the queues cannot make use of."""

    @property
    def frames(self) -> int:
        """What the queues may hold."""
        return min(int(self.budget * _FRAMES_SHARE), self.most_frames)

    @property
    def engine(self) -> int:
        """What inference may take, of its device's memory."""
        return self.budget - self.frames if self.device is None else self.device

    @property
    def reading(self) -> int:
        """What the readers of several mosaics may keep between bands; more, and one goes alone."""
        return self.budget // 8

    def held(self, plan: FramePlan) -> int:
        """What a page, or a band of it, takes between decoding and writing."""
        if plan.band is not None:
            return band_pixels(plan) * BAND_BYTES
        return plan.height * plan.width * FRAME_BYTES

    def plan(self, height: int, width: int, capacity: Capacity, tile: int | None) -> FramePlan:
        """Whole where it fits, else the largest tiles that do; `tile` forces the core's side.

        A mosaic, and a page that the queues cannot hold, is read and written in bands. Raises
        MicrographError when the page, or a forced tile, needs more than there is, or more than the
        engine takes.
        """
        if self.in_bands(height * width, height * width * FRAME_BYTES):
            return self.banded(
                (height, width), capacity, tile,
                lambda engine, band: plan_bands(
                    height, width, capacity, tile=tile, engine_bytes=engine, band_bytes=band
                ),
            )  # fmt: skip
        return self.whole(height, width, capacity, tile)

    def in_bands(self, pixels: int, held: int) -> bool:
        """Whether a page of so many `pixels` goes in bands, if it takes `held` bytes whole."""
        return pixels > LARGE or held > self.frames

    def whole(self, height: int, width: int, capacity: Capacity, tile: int | None) -> FramePlan:
        """As `plan`, of what lies in memory all at once."""
        engine = self.engine
        try:
            plan = plan_frame(
                height,
                width,
                stride=capacity.stride,
                halo=capacity.halo,
                tile=tile,
                bytes_per_pixel=capacity.bytes_per_pixel,
                budget_bytes=engine,
                takes=capacity.takes,
            )
        except UsageError as exc:
            raise MicrographError(exc.message, hint=exc.hint) from exc
        self._check_forced(plan, capacity, tile, engine)
        return plan

    def banded(
        self,
        shape: tuple[int, int],
        capacity: Capacity,
        tile: int | None,
        cheapest: Callable[[float, float], Plan | None],
    ) -> Plan:
        """The bands of a page of `shape`, (rows, columns).

        `cheapest` finds them, given the bytes for a tile and for a band; None where nothing fits.
        Raises MicrographError where nothing does.
        """
        # Two at a time, so that one is read while the other is in the engine. Of a very wide
        # page one alone, which may take more than frames do: the width's only limit.
        engine, alone = self.engine, int(self.budget * _FRAMES_SHARE)
        rest = engine if self.device is not None else self.budget - alone
        for band, room in ((self.frames / 2, engine), (alone, rest)):
            plan = cheapest(room, band)
            if plan is not None:
                self._check_forced(plan, capacity, tile, room)
                return plan
        height, width = shape
        raise MicrographError(
            f"{width} x {height} px cannot be cut into bands that fit: {gib(alone)} are planned "
            f"for a band, {gib(rest)} for inference",
            hint="Cut the micrograph into parts or use a machine with more memory",
        )

    def check_bands(
        self, page: Page, plan: FramePlan, capacity: Capacity, rescaled: Rescaled | None = None
    ) -> int:
        """What reading the page in bands takes, in bytes; `plan` is on the page's own grid.

        Most formats are read by parts; some are decoded whole, whatever is asked of them. Raises
        MicrographError where that needs more memory than is left.
        """
        if rescaled is None:
            reading, held = ((plan.band or 0) + 2 * plan.halo, 2 * plan.halo), self.held(plan)
        else:
            reading, held = rescaled.reading, rescaled.held
        need = page.band_bytes(*reading)
        rows, columns = (plan if rescaled is None else rescaled.plan).largest_read
        engine = 0 if self.device is not None else int(rows * columns * capacity.bytes_per_pixel)
        left = self.budget - max(self.frames, held) - engine
        if need > left:
            raise MicrographError(
                f"{plan.width} x {plan.height} px cannot be read in parts from this file: reading "
                f"needs {gib(need)} of memory, {gib(left)} are left",
                hint="Save it as a tiled or an uncompressed TIFF",
            )
        return need

    def _check_forced(
        self, plan: FramePlan, capacity: Capacity, tile: int | None, engine: int
    ) -> None:
        rows, columns = plan.largest_read
        need = rows * columns * capacity.bytes_per_pixel
        if tile is not None and need > engine:
            raise MicrographError(
                f"a tile of {rows} x {columns} px (core {tile} and halos) needs "
                f"{gib(need)}, but {gib(engine)} are planned for inference",
                hint="Choose a smaller --tile, or leave it out",
            )

    def describe(self) -> str:
        """For the screen."""
        engine = self.engine
        where = "" if self.device is None else " on the card"
        return (
            f"memory: {gib(self.free)} free; planned {gib(engine)} for inference{where}, "
            f"{gib(self.frames)} for frames on their way"
        )

    def to_json(self) -> dict[str, Any]:
        """The form stored in run.json."""
        return {
            "budget_bytes": self.budget,
            "device_bytes": self.device,
            "free_bytes": self.free,
        }


def plan_memory(device: str, recorded: object = None, threads: int = 2) -> MemoryPlan:
    """The budget of a run on `device` (`cpu`, `cuda:N`): the recorded one while it still fits.

    `recorded` is what `MemoryPlan.to_json` gave an earlier run, or anything else. So many `threads`
    read and write: each has a frame in hand, of 128 MiB where it is 2560 x 1920 px.
    """
    free = free_bytes()
    card = _free_on_card(device)
    most = max(1 << 30, (threads + 4) << 27)
    on_card_now = None if card is None else int(card * _SHARE)
    plan = MemoryPlan(int(free * _SHARE), on_card_now, free, most)
    if not isinstance(recorded, dict):
        return plan
    budget, on_card = recorded.get("budget_bytes"), recorded.get("device_bytes")
    if not isinstance(budget, int) or not 0 < budget <= free * _STILL_FITS:
        return plan
    if card is None:
        return replace(plan, budget=budget) if on_card is None else plan
    if not isinstance(on_card, int) or not 0 < on_card <= card * _STILL_FITS:
        return plan
    return replace(plan, budget=budget, device=on_card)


def check_tile(tile: int, capacity: Capacity) -> None:
    """Raise UsageError where an engine was not built for cores of `tile` px with all halos."""
    side = tile + 2 * capacity.halo
    if not capacity.takes(side, side):
        raise UsageError(
            f"--tile {tile}: the engine was not built for tiles of {side} x {side} px, halos "
            "included",
            hint="Choose a smaller --tile, or leave it out",
        )


def free_bytes() -> int:
    """Memory this process can still take without being killed or made to swap."""
    import psutil

    free = int(psutil.virtual_memory().available)
    if sys.platform == "linux":
        groups = Path("/proc/self/cgroup")
        if groups.is_file():
            limits = _group_free(groups.read_text(), Path("/sys/fs/cgroup"))
            free = min([free, *limits])
    return max(free, 0)


def _group_free(groups: str, root: Path) -> list[int]:
    """What each memory limit above this process leaves, in bytes; groups v1 and v2."""
    found = []
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top, names = root, ("memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            top = root / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        # Inside a container the path may be the host's, which is not mounted: then the
        # top of what is mounted is this container's own group.
        folder = top / path.lstrip("/")
        while True:
            found += _left_in_group(folder, *names)
            if folder == top:
                break
            folder = folder.parent
    return found


def _left_in_group(folder: Path, limit_name: str, usage_name: str) -> list[int]:
    try:
        limit = int((folder / limit_name).read_text())  # `max` is no number: no limit
        usage = int((folder / usage_name).read_text())
        stat = (folder / "memory.stat").read_text()
    except (OSError, ValueError):
        return []
    # Pages of files read before count as used, but give way.
    cache = re.search(r"^(?:total_)?inactive_file (\d+)$", stat, re.MULTILINE)
    return [limit - usage + (int(cache.group(1)) if cache else 0)]


def _free_on_card(device: str) -> int | None:
    """Free memory of `cuda:N` in bytes, as its driver says; None elsewhere or without answer."""
    match = re.fullmatch(r"cuda:(\d+)", device)
    return None if match is None else free_on_card(int(match.group(1)))


def gib(amount: float) -> str:
    """Bytes in words: `2.7 GiB`, `35 MiB`."""
    return f"{amount / 2**30:.1f} GiB" if amount >= 2**30 else f"{amount / 2**20:.0f} MiB"
