"""The micrographs that everybody gets: real texture, never zeros or noise.

Zeros skip work on some devices and noise is no phase's; both flatter or slander somebody.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hptl_deploy.errors import InputError, MicrographError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FRAMES = 2
"""Different micrographs: rounds take them in turn."""
_SEED = 2026


@dataclass(frozen=True)
class Frames:
    """Micrographs of one size."""

    pictures: tuple[NDArray[np.uint8], ...]
    """[H, W, 3] each, RGB."""
    what: str
    """Where they come from, in words."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        height, width, _ = self.pictures[0].shape
        return height, width

    @property
    def pixels(self) -> int:
        """Of one of them."""
        height, width = self.size
        return height * width


def synthetic_frames(height: int, width: int, count: int = FRAMES) -> Frames:
    """Synthetic as-cast aluminium, the same at every call.

    Raises UsageError for sides outside 64 to 16384 px.
    """
    import numpy as np

    from hptl_deploy.synthesis import make_frame

    # Copies: what Pillow shows cannot be written to, of which torch warns.
    pictures = tuple(np.array(make_frame(_SEED, k, height, width).pixels()) for k in range(count))
    return Frames(pictures, f"{count} synthetic micrographs of {width} x {height} px")


def folder_frames(folder: Path, count: int = FRAMES) -> Frames:
    """The first page of the first `count` micrographs of `folder` that are of one size.

    The first micrograph's size counts. Raises InputError where there is none, MicrographError
    where one cannot be read.
    """
    from hptl_deploy.micrographs import open_micrograph
    from hptl_deploy.segmentation.inputs.listing import list_inputs

    whole = folder.resolve()  # `.` has no name
    listing = list_inputs(folder, Path(f"{whole}-segmented"))
    pictures: list[NDArray[np.uint8]] = []
    for listed in listing.files:
        try:
            with open_micrograph(listed.path) as micrograph:
                page = micrograph.pages[0]
                if not pictures or (page.height, page.width) == pictures[0].shape[:2]:
                    pictures.append(page.read())
        except MicrographError as exc:
            raise MicrographError(f"{listed.path}: {exc.message}", hint=exc.hint) from exc
        if len(pictures) == count:
            break
    if not pictures:
        raise InputError(f"{folder}: holds no micrograph that can be read")
    height, width, _ = pictures[0].shape
    what = f"{len(pictures)} micrographs of {width} x {height} px of {whole.name}"
    return Frames(tuple(pictures), what)
