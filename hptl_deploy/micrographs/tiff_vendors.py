"""Pixel sizes in the private tags of microscopes' TIFF files.

| tag | written by | stated as |
|---|---|---|
| 34118 | Zeiss SEM | lines `AP_IMAGE_PIXEL_SIZE`, `Image Pixel Size = 27.9 nm` |
| 34680, 34682 | FEI, Thermo Fisher | section `Scan`, `PixelWidth` and `PixelHeight` in metres |
| 33560 | Olympus (SIS, cellSens) | width and height times a power of ten, in metres |

The microscope's own word comes before the resolution tags, which many of these programs leave at
72 dpi. tifffile takes the tags apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hptl_deploy.micrographs import calibration as calibrations
from hptl_deploy.micrographs.base import Calibration

if TYPE_CHECKING:
    from tifffile import TiffPage

_UM_PER_METRE = 1e6
_ZEISS, _FEI, _OLYMPUS = "Zeiss SEM tags", "FEI tags", "Olympus tags"
_ZEISS_TAG, _FEI_TAGS, _OLYMPUS_TAG = 34118, (34680, 34682), 33560
_LARGEST_TAG = 2**20
_LARGEST_TAGS = 2**25
"""Bytes, of a tag and of those of all pages: pages may share one. Real ones have some 50 000."""


def vendor_calibration(page: TiffPage, pages: int) -> Calibration | None:
    """What the microscope wrote; None where it wrote no pixel size. The file has so many pages."""
    largest = min(_LARGEST_TAG, _LARGEST_TAGS // pages)
    return _zeiss(page, largest) or _fei(page, largest) or _olympus(page, largest)


def _zeiss(page: TiffPage, largest: int) -> Calibration | None:
    fields = _fields(page, _ZEISS_TAG, largest)
    if "ap_image_pixel_size" not in fields:
        return None
    match fields.get("dp_image_store"):
        case (_, str(text)):  # 1024 * 768
            columns = text.partition(" ")[0]
            if columns.isdecimal() and columns != str(page.imagewidth):
                return _resized(_ZEISS, columns, page)
    match fields["ap_image_pixel_size"]:
        case (_, float() | int() as size, str(unit)):
            factor = calibrations.unit_um(unit)
            if factor is None:
                return Calibration(None, f"{_ZEISS}: the unit {unit[:20]!r} is unknown")
            return calibrations.from_computed(size * factor, size * factor, _ZEISS)
        case _:
            return Calibration(None, f"{_ZEISS}: the pixel size cannot be understood")


def _fei(page: TiffPage, largest: int) -> Calibration | None:
    for code in _FEI_TAGS:
        fields = _fields(page, code, largest)
        match fields.get("Scan"):
            case {"PixelWidth": float() | int() as width, "PixelHeight": float() | int() as height}:
                pass
            case _:
                continue
        match fields.get("Image"):
            case {"ResolutionX": int(columns)} if columns != page.imagewidth:
                return _resized(_FEI, str(columns), page)
        return calibrations.from_computed(width * _UM_PER_METRE, height * _UM_PER_METRE, _FEI)
    return None


def _olympus(page: TiffPage, largest: int) -> Calibration | None:
    match _fields(page, _OLYMPUS_TAG, largest):
        case {"pixelsizex": float(width), "pixelsizey": float(height)} if width or height:
            return calibrations.from_computed(
                width * _UM_PER_METRE, height * _UM_PER_METRE, _OLYMPUS
            )
        case _:
            return None


def _resized(source: str, columns: str, page: TiffPage) -> Calibration:
    """The tags outlive a picture that was made smaller."""
    return Calibration(
        None, f"{source}: stated for {columns[:20]} columns, the picture has {page.imagewidth}"
    )


def _fields(page: TiffPage, code: int, largest: int) -> dict[str, Any]:
    """The tag's fields; none where it is absent or damaged: the pixels can be read without it."""
    tag = page.tags.get(code)
    if tag is None or tag.count > largest:
        return {}
    try:
        value = tag.value
    except Exception:  # of any kind: tifffile trusts what it takes apart
        return {}
    return value if isinstance(value, dict) else {}
