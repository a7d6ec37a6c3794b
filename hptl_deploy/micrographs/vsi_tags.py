"""The fields of an Olympus VSI file: a tree of numbered tags, read within the file's bounds.

    TIFF header (8 bytes) | volume | ...

    volume   head (24 bytes) --> field --> field --> 0     distances from the volume's head
    field    kind, tag, next, size, [second tag], value, or a volume

Everything is little-endian. Only volumes that lead to what is wanted are entered, and only values
of some bytes are read: files hold previews and drawings beside them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from hptl_deploy.errors import MicrographError
from hptl_deploy.micrographs.sniff import VSI_VOLUME, file_size

COLLECTION, IMAGE, FRAME, PROPERTIES, DIMENSION, PARAMETERS = 2000, 2001, 2002, 2005, 2007, 2008
EXTERNAL_FILE, DEVICES = 2018, 2043
CAMERA = 120114
_ENTERED = {
    COLLECTION: {IMAGE},
    IMAGE: {FRAME, PROPERTIES, DIMENSION},
    FRAME: {EXTERNAL_FILE},
    DIMENSION: {PARAMETERS},
    PROPERTIES: {DEVICES},
}
"""Volumes that are entered, by the one that they lie in; all that lie in DEVICES are."""
_START = 8
_VOLUME = struct.Struct("<HHIqII")
_FIELD = struct.Struct("<IiII")
_SECOND, _EXTENDED, _INLINE = 0x08000000, 0x10000000, 0x40000000
_KIND, _COUNT = 0xFFFFFF, 0xFFFFFFF
_VOLUMES = (0, 1, 2)
_LARGEST_VALUE = 1024
_DEEPEST = 12
_MOST_FIELDS = 200_000


@dataclass(frozen=True)
class Field:
    """One tag."""

    tag: int
    second: int | None
    """A number that tells fields of the same tag apart."""
    value: bytes
    """Empty for volumes and for what is longer than some bytes."""
    fields: tuple[Field, ...] = ()

    def all(self, tag: int) -> Iterator[Field]:
        """The fields below with that tag."""
        return (field for field in self.fields if field.tag == tag)

    def first(self, tag: int) -> Field | None:
        """The first of them."""
        return next(self.all(tag), None)

    def numbers(self, tag: int, form: str) -> tuple[float, ...]:
        """Its value as numbers of struct's `form`; none where it is missing or of another size."""
        field = self.first(tag)
        if field is None or len(field.value) != struct.calcsize(f"<{form}"):
            return ()
        return struct.unpack(f"<{form}", field.value)

    def number(self, tag: int) -> int | None:
        """Its value as a whole number; None where it is missing."""
        field = self.first(tag)
        if field is None or len(field.value) not in {1, 2, 4, 8}:
            return None
        return int.from_bytes(field.value, "little", signed=True)

    def text(self, tag: int) -> str:
        """Its value as text; empty where it is missing."""
        field = self.first(tag)
        content = b"" if field is None else field.value[: len(field.value) // 2 * 2]
        return content.decode("utf-16-le", "replace").split("\0")[0]


def read_tags(handle: BinaryIO) -> Field:
    """The collection of images. Raises MicrographError where the file contradicts itself."""
    walk = _Walk(handle)
    root = Field(0, None, b"", tuple(walk.volume(_START, 0, 0)))
    collection = root.first(COLLECTION)
    if collection is None:
        raise MicrographError("holds no collection of pictures; export it again from cellSens")
    return collection


class _Walk:
    """No field is seen twice, so that a file cannot stand for more than it is."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle, self._size = handle, file_size(handle)
        self._seen: set[int] = set()

    def volume(self, position: int, tag: int, depth: int) -> Iterator[Field]:
        head = self._read(position, _VOLUME.size)
        size, magic, _, first, flags, _ = _VOLUME.unpack(head)
        if not head.startswith(VSI_VOLUME) or first < 0 or depth > _DEEPEST:
            raise _damaged(f"at byte {position} is no list of fields ({size}, {magic})")
        at = position + first
        for left in reversed(range(flags & _COUNT)):
            field, following = self._field(at, tag, depth)
            yield field
            if following == 0:
                if left:
                    raise _damaged(f"the list of fields at byte {position} ends too early")
                return
            at = position + following

    def _field(self, at: int, above: int, depth: int) -> tuple[Field, int]:
        if at in self._seen or len(self._seen) >= _MOST_FIELDS:
            raise _damaged("its fields run in a circle, or are too many")
        self._seen.add(at)
        kind, tag, following, size = _FIELD.unpack(self._read(at, _FIELD.size))
        at += _FIELD.size
        second = None
        if kind & _SECOND:
            second = int.from_bytes(self._read(at, 4), "little", signed=True)
            at += 4
        value = b""
        fields: tuple[Field, ...] = ()
        if kind & _EXTENDED:
            wanted = above in (DEVICES, CAMERA) or tag in _wanted(above)
            if wanted and kind & _KIND in _VOLUMES:
                inside = CAMERA if above in (DEVICES, CAMERA) else tag
                fields = tuple(self.volume(at, inside, depth + 1))
        elif kind & _INLINE:
            value = struct.pack("<I", size)
        elif size <= _LARGEST_VALUE:
            value = self._read(at, size)
        return Field(tag, second, value, fields), following

    def _read(self, at: int, length: int) -> bytes:
        if at < 0 or at + length > self._size:
            raise MicrographError(
                f"is cut short: a field of it ends at byte {at + length}, the file has "
                f"{self._size}; copy it again"
            )
        self._handle.seek(at)
        return self._handle.read(length)


def _wanted(above: int) -> set[int]:
    return _ENTERED.get(above, {COLLECTION} if above == 0 else set())


def _damaged(what: str) -> MicrographError:
    return MicrographError(f"is damaged: {what}; copy it again")
