"""A model file's bytes and graph, read so that no file can hang, exhaust or surprise the reader.

ONNX files are protocol buffers: messages of numbered fields, inside one another. The weights lie
in them as they lie in memory; everything else grows when it is unpacked, an empty node of two
bytes by a factor of seventy. So fields are counted before any is unpacked.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hptl_deploy.errors import ModelError

if TYPE_CHECKING:
    import onnx
    from google.protobuf.message import Message

LARGEST_FILE = 2**31 - 1
"""Bytes: what a protocol buffer can hold."""
LARGEST_DESCRIPTION = 16 << 20
"""Bytes of a file that are no weights. The bundled model has 40 000; unpacked, these take up to
a gigabyte."""
_FIELD_BYTES = 64
"""What every field counts for besides its content."""
_BROKEN = "is not a whole ONNX file"
_COPY_AGAIN = "Copy or export it again"


def read_model(path: Path) -> tuple[onnx.ModelProto, str]:
    """(model, SHA-256) of one reading of `path`; nothing in the model has been checked.

    Raises ModelError where it cannot be read, is no file, is too large, or is no ONNX file.
    """
    import onnx
    from google.protobuf.message import DecodeError

    content = _content(path)
    try:
        if _described(content) > LARGEST_DESCRIPTION:
            raise ModelError(
                f"{path}: describes more than any model ({LARGEST_DESCRIPTION >> 20} MiB without "
                "its weights)",
                hint="Export the model again",
            )
        proto = onnx.load_from_string(content)
        if any(isinstance(text, bytes) for text in _texts(proto)):
            raise ValueError("a text that is not UTF-8")
    except (DecodeError, ValueError) as exc:
        raise ModelError(f"{path}: {_BROKEN}", hint=_COPY_AGAIN) from exc
    return proto, hashlib.sha256(content).hexdigest()


def _texts(message: Message) -> Iterator[str | bytes]:
    """Every text in a message and those inside it; one that is not UTF-8 comes as bytes."""
    for field in message.DESCRIPTOR.fields:
        if field.type == field.TYPE_STRING:
            value = getattr(message, field.name)
            yield from (value,) if isinstance(value, str | bytes) else value
        elif field.type == field.TYPE_MESSAGE:
            value = getattr(message, field.name)
            # What is not there looks empty and has, by and by, everything inside.
            single = hasattr(value, "ListFields")
            there = value if not single else [value] if message.HasField(field.name) else []
            for inner in there:
                yield from _texts(inner)


def _content(path: Path) -> bytes:
    try:
        # Asked before it is opened: a pipe would keep its reader waiting.
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ModelError(f"{path}: cannot be read (it is a folder)")
        if not stat.S_ISREG(status.st_mode):
            raise ModelError(f"{path}: cannot be read (it is a pipe or a device, no file)")
        if status.st_size > LARGEST_FILE:
            raise ModelError(
                f"{path}: has {status.st_size / 2**30:.1f} GiB, more than the 2 GiB that an ONNX "
                "file can have",
                hint=_COPY_AGAIN,
            )
        content = path.read_bytes()
    except OSError as exc:
        raise ModelError(f"{path}: cannot be read ({exc.strerror})") from exc
    except MemoryError as exc:
        raise ModelError(
            f"{path}: its {status.st_size / 2**30:.1f} GiB do not fit this machine's memory",
            hint="Close other programs, or use a narrower model",
        ) from exc
    if not content:
        raise ModelError(f"{path}: is empty", hint=_COPY_AGAIN)
    return content


def _described(content: bytes) -> int:
    """Bytes of `content` that are no weights, and 64 for every field; stops beyond the limit.

    Raises ValueError where it is no message.
    """
    found = 0
    for charge in _charges(memoryview(content)):
        found += charge + _FIELD_BYTES
        if found > LARGEST_DESCRIPTION:
            break
    return found


def _charges(model: memoryview) -> Iterator[int]:
    """Lengths of the fields of a model, of its graph and of its initialisers, but for weights."""
    from onnx import GraphProto, ModelProto, TensorProto

    for number, part in _fields(model):
        if number != ModelProto.GRAPH_FIELD_NUMBER:
            yield len(part)
            continue
        for inner, piece in _fields(part):
            if inner != GraphProto.INITIALIZER_FIELD_NUMBER:
                yield len(piece)
                continue
            yield 0
            for innermost, content in _fields(piece):
                yield 0 if innermost == TensorProto.RAW_DATA_FIELD_NUMBER else len(content)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """(number, content) of every field; empty content for plain numbers. Raises ValueError."""
    place = 0
    while place < len(message):
        key, place = _number(message, place)
        start, kind = place, key & 7
        if kind == 2:
            length, start = _number(message, place)
            place = start + length
        elif kind == 0:
            _, start = _number(message, place)
            place = start
        elif kind in (1, 5):
            start = place = place + (8 if kind == 1 else 4)
        else:
            raise ValueError(f"fields of kind {kind}")
        if place > len(message) or key >= 1 << 32:
            raise ValueError("a field that goes on beyond its message")
        yield key >> 3, message[start:place]


def _number(message: memoryview, place: int) -> tuple[int, int]:
    """(number, place behind it): seven bits a byte, the lowest first, up to ten bytes."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            break
        byte = message[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ValueError("a number without an end")
