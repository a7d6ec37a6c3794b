"""Leica LIF; the file is taken apart by liffile (optional), its rows are read here.

    header | XML: a tree of images | memory block | memory block | ...

A file is a project of many images. Each image, and each position, time and focal plane of it, is
a page, in the order of the tree. An image is grey (one channel) or colour (three channels that
are called red, green and blue); several others are refused, because which of them would be red,
green and blue is a matter of display.

The XML says at which distance in bytes columns, rows, channels and planes follow each other, so
that rows are read one by one, filled up or not. (liffile 2026.2 shears a colour frame whose rows
are filled up, and keeps one of two images of the same name.)
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from hptl_deploy.errors import MicrographError
from hptl_deploy.micrographs import limits
from hptl_deploy.micrographs.decoded import DecodedMicrograph
from hptl_deploy.micrographs.lif_images import LifImage, image_of, named_images
from hptl_deploy.micrographs.raw import RawPage, Samples
from hptl_deploy.micrographs.sniff import file_size

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

INSTALL = 'pip install "hptl-deploy[lif]"'
_HEAD = 13


class _Block(Protocol):
    """What is used of a memory block of liffile, in bytes."""

    offset: int
    size: int


class _Library(Protocol):
    """What is used of liffile."""

    xml_element: Element
    memory_blocks: dict[str, _Block]


class LifMicrograph(DecodedMicrograph):
    """A LIF file."""

    def __init__(self, path: Path, handle: BinaryIO) -> None:
        super().__init__(path, handle)
        _check_xml(handle)
        library = _opened(handle)
        self.pages: list[RawPage] = []
        images = [image_of(*named) for named in named_images(library.xml_element)]
        size = file_size(handle)
        starts = [_start(image, library.memory_blocks, size) for image in images]
        limits.check_pictures(
            sum(image.planes for image in images),
            sum(image.stored_bytes for image in images),
            size,
        )
        for image, start in zip(images, starts, strict=True):
            for steps in product(*(range(axis.count) for axis in image.further)):
                at = sum(step * axis.bytes for step, axis in zip(steps, image.further, strict=True))
                samples = Samples(
                    image.rows.count,
                    image.columns.count,
                    start + at,
                    image.rows.bytes,
                    image.columns.bytes,
                    image.offsets,
                    image.bits,
                    image.depth,
                )
                self.pages.append(RawPage(self, len(self.pages), samples, image.calibration))
        if not self.pages:
            raise MicrographError("holds no image; export it again from LAS X")


def _check_xml(handle: BinaryIO) -> None:
    """Raise MicrographError unless a tree of images follows that can be trusted to a parser."""
    head = handle.read(_HEAD)
    length = 2 * int.from_bytes(head[9:], "little")
    if len(head) < _HEAD or _HEAD + length > file_size(handle):
        raise MicrographError(
            f"is cut short: its XML ends at byte {_HEAD + length}, the file has "
            f"{file_size(handle)}; copy it again"
        )
    xml = handle.read(length).decode("utf-16-le", "replace")
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:  # LIF has neither; entities can expand without end
        raise MicrographError("is damaged: its XML defines entities; copy it again")
    handle.seek(0)


def _start(image: LifImage, blocks: dict[str, _Block], file_bytes: int) -> int:
    """Where the pixels of the image begin; its memory block is in the file, the image in it."""
    block = blocks.get(image.block)
    if block is None:
        raise MicrographError(
            f"is cut short or damaged: the pixels of {image.name} are not in it; copy it again"
        )
    if block.offset < 0 or block.offset + block.size > file_bytes:
        raise MicrographError(
            f"is cut short: the pixels of {image.name} end at byte {block.offset + block.size}, "
            f"the file has {file_bytes}; copy it again"
        )
    if image.stored_bytes > block.size:
        raise MicrographError(
            f"is damaged: {image.name} of {image.columns.count} x {image.rows.count} pixels needs "
            f"{image.stored_bytes} bytes, {block.size} are stored; copy it again"
        )
    return block.offset


def _opened(handle: BinaryIO) -> _Library:
    try:
        from liffile import LifFile
    except ImportError as exc:
        raise MicrographError(
            "is a Leica LIF file, and the package that reads these is not installed here",
            hint=f"Install it: {INSTALL}",
        ) from exc
    return cast("_Library", LifFile(handle))
