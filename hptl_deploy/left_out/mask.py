"""A picture whose pixels other than 0 are left out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hptl_deploy.datasets.labels import read_stored
from hptl_deploy.errors import DataSetError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hptl_deploy.tiling import Region


@dataclass(frozen=True)
class Mask:
    """A mask for micrographs of its own size."""

    path: Path
    shape: tuple[int, int]
    """(H, W), px."""
    sha256: str
    """Of what is left out, whatever kind of file says so."""
    packed: NDArray[np.uint8]
    """[H, ceil(W / 8)]: eight pixels a byte, set where they are left out. A mosaic's mask of a
    gigapixel is 125 MB so."""

    @property
    def name(self) -> str:
        """Of its file."""
        return self.path.name

    def of(self, region: Region) -> NDArray[np.bool_]:
        """True where a pixel of `region` is left out."""
        import numpy as np

        first = region.x0 // 8
        bits = self.packed[region.y0 : region.y1, first : -(-region.x1 // 8)]
        wide = np.unpackbits(bits, axis=1).view(bool)
        return wide[:, region.x0 - first * 8 : region.x1 - first * 8]


def load_mask(path: Path) -> Mask:
    """Read `path`: one channel, a palette (the numbers count, not the colours) or RGB.

    Raises UsageError where it cannot be read, or leaves out nothing or everything.
    """
    import numpy as np

    if not path.is_file():
        raise UsageError(f"--ignore-mask {path}: is not a file")
    try:
        stored = read_stored(path)
    except DataSetError as exc:
        raise UsageError(f"--ignore-mask {path}: {exc.message}") from exc
    left_out = stored.any(axis=-1) if stored.ndim == 3 else stored != 0
    if left_out.all() or not left_out.any():
        what = "everything: no pixel is 0" if left_out.all() else "nothing: every pixel is 0"
        raise UsageError(
            f"--ignore-mask {path}: leaves out {what}; expected 0 where the micrograph counts, and "
            "anything else where it does not"
        )
    height, width = left_out.shape
    packed = np.packbits(left_out, axis=1)
    content = f"{height} x {width}\n".encode() + packed.tobytes()
    return Mask(path, (height, width), hashlib.sha256(content).hexdigest(), packed)
