"""Class maps and confidence maps as TIFF: in the phases' colours, with their pixel size.

Same pixels, same model, same settings: same bytes. Nothing in them tells the time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hptl_deploy import __version__
from hptl_deploy.phases import Phase, palette

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hptl_deploy.model import Model

SOFTWARE = f"hptl-deploy {__version__}"


def describe(model: Model, precision: str, pixel_size_um: float | None) -> dict[str, Any]:
    """What every result says about its origin, as JSON in its description."""
    return {
        "software": SOFTWARE,
        "model": model.card.name,
        "model_sha256": model.sha256,
        "precision": precision,
        "phases": [phase.to_json() for phase in model.card.phases],
        "pixel_size_um": pixel_size_um,
    }


def write_class_map(
    path: Path,
    classes: NDArray[np.uint8],
    phases: Sequence[Phase],
    description: dict[str, Any],
) -> None:
    """Write indices [H, W] as a palette TIFF. Raises OSError."""
    colours = palette(phases).astype(np.uint16).T * 257  # [256, 3] of 8 bits -> [3, 256] of 16
    write_map(path, classes, description, photometric="palette", colormap=colours)


def write_confidence(
    path: Path, confidence: NDArray[np.uint8], description: dict[str, Any]
) -> None:
    """Write probabilities x 255 [H, W] as a grey TIFF. Raises OSError."""
    what = {"content": "probability of the winning class x 255", **description}
    write_map(path, confidence, what, photometric="minisblack")


def write_map(
    path: Path,
    pixels: NDArray[Any] | Iterator[NDArray[Any]],
    description: dict[str, Any],
    **options: Any,  # noqa: ANN401
) -> None:
    """Write a map [H, W], or its tiles, as TIFF, with more `options` of tifffile. Raises OSError.

    ImageJ opens it, too: it makes micrometres of a resolution per centimetre where pixels are of
    10 um or less, as long as the description is not of its own kind (then 1 um). It takes strips
    only, in files of up to 4 GiB. No predictor: a deflated file with one is opened by ImageJ 1.52
    without a word, as differences of pixels, and confidence is larger with it (by a tenth).
    """
    import tifffile

    size = description["pixel_size_um"]
    if size is not None:
        options |= {"resolution": (1e4 / size, 1e4 / size), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(
        path,
        pixels,
        compression="zlib",
        compressionargs={"level": 6},
        maxworkers=1,  # the encode stage is one of several threads already
        metadata=None,
        software=SOFTWARE,
        description=json.dumps(description),  # ASCII, as TIFF wants it
        **options,
    )
