"""What an exported model must keep to be published; the only place these numbers stand."""

from __future__ import annotations

from dataclasses import dataclass

LOGITS_FP32 = 1e-4
"""max |ONNX - torch| / max |torch| over the logits of a fp32 model."""

CLASSES_PPM_FP32 = 10.0
"""Class pixels that may differ between ONNX and torch, per million. Two classes that tie to
within the logits' rounding may fall either way; nothing else may."""

HALO_FP32 = 1e-5
"""Largest change of a logit / largest logit, when everything outside the halo becomes noise.
Nothing but the order of additions may tell the two apart."""


@dataclass(frozen=True)
class Limits:
    """What a precision may change against fp32; every figure is measured on the same frames."""

    logits: float
    """max |logit - fp32 logit| / max |fp32 logit|."""
    classes_ppm: float
    """Pixels of another class, per million."""
    iou: float
    """Change of any phase's IoU against the truth, either way."""
    area: float
    """Change of any phase's area fraction, either way."""


FP16 = Limits(logits=1e-2, classes_ppm=2000.0, iou=0.001, area=0.001)
"""Half precision rounds to 11 bits, 5e-4 of a number; some twenty layers of it stay under 1e-2 of
the largest logit."""

INT8 = Limits(logits=0.25, classes_ppm=10000.0, iou=0.005, area=0.005)
"""8-bit numbers have 256 steps. A single logit may go far, where nothing depends on it; what
counts is the class map, and the IoU most of all."""

CHANCE_PIXELS = 3
"""A phase of few pixels: its IoU may change by what so many pixels make, whatever the limit."""

HALF_RANGE = 65504 / 4
"""Largest magnitude that a layer in half precision may read or write on the verification frames.
Half precision ends at 65504; micrographs that were not looked at have four times as much room."""
