"""A small frame and the class map it must give, kept in the model's card.

A model is verified where it is exported, on a CPU. Elsewhere other kernels compute it. 8-bit
arithmetic differs between processors: without the newer dot-product instructions, sums of products
of unsigned activations and signed weights can saturate, and nothing says so. Engines on a card
are made by another library, for that card, and half precision can overflow there. An engine that
gives the probe its class map computes the model as it was verified.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hptl_deploy.card_fields import Fields

LARGEST_PROBE = 256
"""Rows and columns at most, in pixels: a probe is for every opening of a model."""
PROBE_TOLERANCE = 0.005
"""Share of the probe's pixels that may differ. Two phases that tie to within the rounding of the
precision may fall either way; what saturates or overflows moves whole regions."""


@dataclass(frozen=True)
class Probe:
    """Pixels as they are stored in the card; `frame` and `classes` are the arrays."""

    height: int
    width: int
    planes: bytes
    """The red, the green and the blue plane [3, H, W]: grey ones are equal and pack into one."""
    indices: bytes
    """The class of every pixel [H, W]."""

    @classmethod
    def of(cls, frame: NDArray[np.uint8], classes: NDArray[np.uint8]) -> Probe:
        """A probe of `frame`, uint8 [H, W, 3], and its `classes`, uint8 [H, W]."""
        height, width, _ = frame.shape
        return cls(height, width, frame.transpose(2, 0, 1).tobytes(), classes.tobytes())

    @property
    def frame(self) -> NDArray[np.uint8]:
        """uint8 [H, W, 3]."""
        import numpy as np

        planes = np.frombuffer(self.planes, np.uint8).reshape(3, self.height, self.width)
        return np.ascontiguousarray(planes.transpose(1, 2, 0))

    @property
    def classes(self) -> NDArray[np.uint8]:
        """uint8 [H, W]."""
        import numpy as np

        return np.frombuffer(self.indices, np.uint8).reshape(self.height, self.width)

    def differing(self, classes: NDArray[np.uint8]) -> int:
        """Pixels that `classes`, uint8 [H, W], gives another class."""
        return int((classes != self.classes).sum())

    @property
    def tolerated(self) -> int:
        """Pixels that may differ."""
        return int(PROBE_TOLERANCE * self.height * self.width)

    def to_json(self) -> dict[str, Any]:
        """The form stored in the card: a few kB."""
        return {
            "height": self.height,
            "width": self.width,
            "pixels": _packed(self.planes),
            "classes": _packed(self.indices),
        }

    @classmethod
    def from_fields(cls, probe: Fields) -> Probe:
        """Read what `to_json` wrote. Raises KeyError or ValueError."""
        height, width = probe.whole("height"), probe.whole("width")
        if not (1 <= height <= LARGEST_PROBE and 1 <= width <= LARGEST_PROBE):
            raise ValueError(
                f"a probe of {height} x {width} px, expected 1 to {LARGEST_PROBE} a side"
            )
        return cls(
            height,
            width,
            _unpacked(probe.passage("pixels"), 3 * height * width),
            _unpacked(probe.passage("classes"), height * width),
        )


def _packed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content, 9)).decode("ascii")


def _unpacked(text: str, length: int) -> bytes:
    """Exactly `length` bytes; more than that is never unpacked."""
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(base64.b64decode(text, validate=True), length + 1)
    except zlib.error as exc:
        raise ValueError(f"a probe that cannot be unpacked ({exc})") from exc
    if len(content) != length:
        raise ValueError(f"a probe with {len(content)} bytes, expected {length}")
    return content
