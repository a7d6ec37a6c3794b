"""What the metadata of a Zeiss CZI file say: the size of a pixel, the depth of the camera."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

from hptl_deploy.micrographs import calibration as calibrations
from hptl_deploy.micrographs.base import UNCALIBRATED, Calibration

_UM_PER_METRE = 1e6
_IMAGE = "Metadata/Information/Image"


@dataclass(frozen=True)
class CziMetadata:
    """Of all pages of a file."""

    calibration: Calibration
    depths: tuple[int | None, ...]
    """Significant bits of each channel; None where they are not declared."""

    def significant_bits(self, channel: int, stored_bits: int) -> int:
        """The declared depth of the channel, else all stored bits."""
        declared = self.depths[channel] if 0 <= channel < len(self.depths) else None
        return declared if declared is not None and 8 <= declared <= stored_bits else stored_bits


UNKNOWN = CziMetadata(UNCALIBRATED, ())


def parse(xml: bytes) -> CziMetadata:
    """Nothing is known where the XML cannot be understood: the pixels can be read without it."""
    if b"<!DOCTYPE" in xml or b"<!ENTITY" in xml:
        return UNKNOWN  # CZI has neither; entities can expand without end
    try:
        root = ElementTree.fromstring(xml.rstrip(b"\0"))
        return CziMetadata(_calibration(root), _depths(root))
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError):
        return UNKNOWN


def _calibration(root: ElementTree.Element) -> Calibration:
    metres: dict[str | None, float] = {}
    for distance in root.iterfind("Metadata/Scaling/Items/Distance"):
        metres[distance.get("Id")] = float(distance.findtext("Value") or 0)
    x = metres.get("X", 0.0)
    y = metres.get("Y", x)
    if x == y == 0:  # as it is written where nobody has calibrated
        return UNCALIBRATED
    return calibrations.from_computed(x * _UM_PER_METRE, y * _UM_PER_METRE, "CZI")


def _depths(root: ElementTree.Element) -> tuple[int | None, ...]:
    general = root.findtext(f"{_IMAGE}/ComponentBitCount")
    channels = root.findall(f"{_IMAGE}/Dimensions/Channels/Channel")
    own = [channel.findtext("ComponentBitCount") for channel in channels] or [None]
    stated = [depth or general for depth in own]
    return tuple(int(depth) if depth else None for depth in stated)
