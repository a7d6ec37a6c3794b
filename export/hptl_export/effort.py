"""How much of a micrograph export looks at: what a network of its size goes through in seconds.

A look costs operations per pixel x pixels, and the full-size network takes a thousand times as
many as a narrow one. So a narrow model is judged on whole micrographs, and a wide one, which takes
a second for every few hundred thousand pixels, on crops of them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hptl_deploy.bench.work import operations_of

if TYPE_CHECKING:
    import onnx

LOOK = 7e11
"""Operations of one look: two to seven seconds on two cores. An export takes about ten."""


def operations_per_pixel(proto: onnx.ModelProto, stride: int) -> float:
    """Of an exported graph, per micrograph pixel."""
    side = 8 * stride  # any: every layer's work grows with the area
    return operations_of(proto, "the exported graph", side, side) / side**2


def side_of_look(per_pixel: float, stride: int, crops: int, least: int, most: int) -> int:
    """Side of each of `crops` squares that one look goes through, a multiple of `stride`.

    Between `least` and `most` pixels, whatever it costs, and never less than a stride.
    """
    side = math.isqrt(int(LOOK / (per_pixel * crops)))
    return max(stride, min(max(side, least), most) // stride * stride)
