"""Label files: index masks (one channel or palette) and RGB colour masks.

Which of the two a file is, is seen from the file: three channels are colours, one
channel or a palette is an index, and then the number that is stored counts, not the
colour it is shown in.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hptl_deploy.errors import DataSetError
from hptl_deploy.phases import IGNORE, Colour, Phase

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LABEL_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg", ".gif")

_SHOWN = 6
"""How many unknown values or colours one message lists."""


@dataclass(frozen=True)
class LabelCode:
    """How label files say which phase a pixel is."""

    phases: tuple[Phase, ...]
    values: tuple[int, ...]
    """The number that stands for each phase in index masks; a class's index is its place."""
    ignore: int = IGNORE
    """The number of pixels that count for nothing, in index masks."""
    ignore_colour: Colour | None = None
    """Their colour in RGB masks, where there is one."""


def read_labels(path: Path, code: LabelCode) -> NDArray[np.uint8]:
    """Class indices of a label file: uint8 [H, W], 0 to K - 1, 255 where ignored.

    Raises DataSetError when the file cannot be decoded or holds values or colours that
    `code` does not know; the message lists them with their pixel counts.
    """
    stored = read_stored(path)
    return (
        _from_colours(stored, code, path) if stored.ndim == 3 else _from_values(stored, code, path)
    )


def _from_values(stored: NDArray[Any], code: LabelCode, path: Path) -> NDArray[np.uint8]:
    import numpy as np

    # One table over all numbers the type can hold: a single pass over the pixels.
    # Its size also covers the code's numbers, which an 8-bit file may be unable to hold.
    table = np.full(
        max(int(np.iinfo(stored.dtype).max), code.ignore, *code.values) + 1, -1, np.int16
    )
    table[code.ignore] = IGNORE
    for index, value in enumerate(code.values):
        table[value] = index
    classes: NDArray[np.int16] = table[stored]
    if (classes < 0).any():
        values, counts = np.unique(stored[classes < 0], return_counts=True)
        known = ", ".join(str(value) for value in code.values)
        raise DataSetError(
            f"{path.name}: unknown label values {_listing(values.tolist(), counts.tolist())}; "
            f"expected {known}, or {code.ignore} to ignore{_jpeg_advice(path)}"
        )
    return classes.astype(np.uint8)


def _from_colours(stored: NDArray[np.uint8], code: LabelCode, path: Path) -> NDArray[np.uint8]:
    import numpy as np

    packed = pack_colours(stored)
    classes = np.full(packed.shape, -1, np.int16)
    if code.ignore_colour is not None:
        classes[packed == pack_colours(np.array(code.ignore_colour, np.uint8))] = IGNORE
    for index, phase in enumerate(code.phases):
        classes[packed == pack_colours(np.array(phase.colour, np.uint8))] = index
    if (classes < 0).any():
        values, counts = np.unique(packed[classes < 0], return_counts=True)
        known = ", ".join(f"{phase.name} {phase.colour}" for phase in code.phases)
        if code.ignore_colour is not None:
            known += f", or {code.ignore_colour} to ignore"
        raise DataSetError(
            f"{path.name}: unknown colours {listed_colours(values.tolist(), counts.tolist())}; "
            f"expected {known}{_jpeg_advice(path)}"
        )
    return classes.astype(np.uint8)


def pack_colours(colours: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """(R, G, B) as one number, so that colours compare in one go."""
    import numpy as np

    wide = colours.astype(np.uint32)
    return (wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]).astype(np.uint32, copy=False)


def listed_colours(packed: list[int], counts: list[int]) -> str:
    """The most frequent colours, each with its count: `(5, 5, 5) (7 px), ... and 3 more`."""
    return _listing([f"({v >> 16}, {v >> 8 & 255}, {v & 255})" for v in packed], counts)


def _listing(items: list[Any], counts: list[int]) -> str:
    ranked = sorted(zip(counts, items, strict=True), key=lambda pair: -pair[0])
    shown = ", ".join(f"{item} ({count} px)" for count, item in ranked[:_SHOWN])
    more = len(ranked) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _jpeg_advice(path: Path) -> str:
    if path.suffix.lower() in (".jpg", ".jpeg"):
        return " (JPEG changes values at every edge: save masks as PNG)"
    return ""


def read_stored(path: Path) -> NDArray[Any]:
    """What the file stores: unsigned [H, W] numbers, or uint8 [H, W, 3] colours.

    Raises DataSetError when it cannot be decoded or is of another kind.
    """
    import numpy as np

    try:
        stored = (
            _read_tiff(path) if path.suffix.lower() in (".tif", ".tiff") else _read_raster(path)
        )
    except DataSetError:
        raise
    except Exception as exc:
        raise DataSetError(f"{path.name}: the label file cannot be decoded ({exc})") from exc
    if stored.dtype == np.bool_:
        stored = stored.astype(np.uint8)
    colours = stored.ndim == 3 and stored.shape[2] in (3, 4) and stored.dtype == np.uint8
    numbers = stored.ndim == 2 and stored.dtype in (np.uint8, np.uint16)
    if not (colours or numbers):
        raise DataSetError(
            f"{path.name}: expected a label of one channel (8 or 16 bit) or 8-bit RGB, "
            f"found {stored.dtype} {list(stored.shape)}"
        )
    return np.ascontiguousarray(stored[..., :3]) if colours else stored


def _read_tiff(path: Path) -> NDArray[Any]:
    import tifffile

    with tifffile.TiffFile(path) as tif:
        page = tif.pages.first
        stored: NDArray[Any] = page.asarray()
        if stored.ndim == 3 and page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
            stored = stored.transpose(1, 2, 0)
    return stored


def _read_raster(path: Path) -> NDArray[Any]:
    import numpy as np
    from PIL import Image

    with Image.open(path) as picture:
        # Bits per sample and colour type; 4 is grey with alpha.
        bits, kind = path.read_bytes()[24:26] if picture.format == "PNG" else (8, 0)
        if (bits, kind) == (16, 4):
            raise DataSetError(
                f"{path.name}: is 16-bit grey with alpha, of which only 8 bits can be read; "
                "save it without alpha"
            )
        if picture.mode in ("RGB", "RGBA", "P", "L", "1", "I;16"):
            stored: NDArray[Any] = np.asarray(picture)
        elif picture.mode == "I" and bits == 16:  # so in older Pillow
            stored = np.asarray(picture).astype(np.uint16)
        elif picture.mode == "LA":
            stored = np.asarray(picture)[..., 0]
        else:
            raise DataSetError(
                f"{path.name}: expected a label of one channel or RGB, found mode {picture.mode}"
            )
        if picture.mode == "L" and bits < 8:
            # Pillow stretches 2- and 4-bit grey to 0..255; the stored number is what counts.
            stored = stored // (255 // (2**bits - 1))
    return stored
