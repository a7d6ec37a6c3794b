"""What an engine was built from and for, beside its file: `<stem>.engine`, `<stem>.json`.

An engine is machine code that a library loads and runs; it fits one model file, one version of
one flavour, one card or set of cards, one driver. Only an engine whose record equals what this
machine wants, and whose file is the one that the record was written for, may be given to the
library: `read_engine` is the only way to its bytes. That keeps out the stale and the damaged; it
does not keep out a forger, who could write both files, so a model folder is to be trusted like
any program.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from hptl_deploy.engines.flavour import FLAVOURS
from hptl_deploy.engines.machine import Card
from hptl_deploy.errors import ModelError
from hptl_deploy.files import sha256_json
from hptl_deploy.model import PRECISIONS
from hptl_deploy.wording import shown_value

RECORD_SCHEMA = 1
_LARGEST_RECORD = 1 << 16
_LONGEST_SIDE = 1 << 16

Shape = tuple[int, int, int]
"""(N, H, W): micrographs of a batch, rows, columns; pixels."""


@dataclass(frozen=True)
class Profiles:
    """The shapes that an engine takes."""

    frame: Shape
    """Profile 0: a whole micrograph; this shape and no other."""
    tile_min: Shape
    """Profile 1: tiles from this shape ..."""
    tile_opt: Shape
    """... fastest at this one ..."""
    tile_max: Shape
    """... up to this one."""

    def __str__(self) -> str:
        frame, least, most = ("x".join(map(str, s)) for s in (self.frame, self.tile_min,
                                                              self.tile_max))  # fmt: skip
        return f"frame {frame}, tiles {least} to {most}"

    def to_json(self) -> dict[str, Any]:
        """The form stored in the record."""
        return {
            "frame": list(self.frame),
            "tiles": {
                "min": list(self.tile_min),
                "opt": list(self.tile_opt),
                "max": list(self.tile_max),
            },
        }


@dataclass(frozen=True)
class Fit:
    """Everything that decides whether an engine fits; what one was built for, or what is wanted."""

    onnx_sha256: str
    """Of the model file."""
    flavour: str
    version: str
    precision: str
    gpu: Card | tuple[str, ...]
    """The card it was built on, or the compute capabilities of the cards it may run on."""
    driver: str | None
    """None where engines do not depend on it."""
    os: tuple[str, ...]
    """Systems it may run on."""
    profiles: Profiles

    def key(self) -> str:
        """Twelve hexadecimal digits that differ wherever a field does."""
        return sha256_json(self._fit_json())[:12]

    def file_name(self) -> str:
        """Of the engine in the model's folder of engines."""
        return f"{self.precision}-{self.flavour}-{self.key()}.engine"

    def _fit_json(self) -> dict[str, Any]:
        card = self.gpu
        return {
            "onnx_sha256": self.onnx_sha256,
            "flavour": self.flavour,
            "version": self.version,
            "precision": self.precision,
            "gpu": vars(card) if isinstance(card, Card) else list(card),
            "driver": self.driver,
            "os": list(self.os),
            "profiles": self.profiles.to_json(),
        }


@dataclass(frozen=True)
class EngineRecord(Fit):
    """What an engine file is."""

    engine_sha256: str
    """Of the engine's file."""
    made_with: dict[str, str]
    """Versions of what built it, and how long that took; decides nothing."""

    def to_json(self) -> str:
        """The text of the record's file."""
        document = {
            "schema": RECORD_SCHEMA,
            **self._fit_json(),
            "engine_sha256": self.engine_sha256,
            "made_with": self.made_with,
        }
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> EngineRecord:
        """Read a record; `where` names the file in messages.

        Raises ModelError when it is not JSON, of another schema, or lacks or misstates a field.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise ModelError(f"{where}: the engine's record is not JSON ({exc})") from exc
        if not isinstance(document, dict) or document.get("schema") != RECORD_SCHEMA:
            found = document.get("schema") if isinstance(document, dict) else document
            raise ModelError(
                f"{where}: expected an engine's record of schema {RECORD_SCHEMA}, "
                f"found {shown_value(found)}"
            )
        try:
            return cls._from_document(document)
        except (KeyError, TypeError, ValueError) as exc:
            reason = f"no {exc}" if isinstance(exc, KeyError) else str(exc)
            raise ModelError(
                f"{where}: the engine's record lacks or misstates a field ({reason})"
            ) from exc

    @classmethod
    def _from_document(cls, document: dict[str, Any]) -> EngineRecord:
        profiles, gpu, driver = document["profiles"], document["gpu"], document["driver"]
        tiles = profiles["tiles"]
        least, best, most = (_shape(tiles[name]) for name in ("min", "opt", "max"))
        if any(not a <= b <= c for a, b, c in zip(least, best, most, strict=True)):
            raise ValueError(f"tiles {shown_value(tiles)} are not in order")
        return cls(
            onnx_sha256=_sha256(document["onnx_sha256"]),
            flavour=_one_of(document["flavour"], FLAVOURS),
            version=_text(document["version"]),
            precision=_one_of(document["precision"], PRECISIONS),
            gpu=(
                Card(_text(gpu["name"]), _capability(gpu["capability"]))
                if isinstance(gpu, dict)
                else tuple(_capability(entry) for entry in _list(gpu))
            ),
            driver=None if driver is None else _text(driver),
            os=tuple(_text(entry) for entry in _list(document["os"])),
            profiles=Profiles(_shape(profiles["frame"]), least, best, most),
            engine_sha256=_sha256(document["engine_sha256"]),
            made_with={_text(k): _text(v) for k, v in dict(document["made_with"]).items()},
        )


def differences(record: Fit, here: Fit) -> dict[str, str]:
    """Field to sentence, for every field in which `record` is not what is wanted `here`."""
    return {
        name: f"{_LABELS.get(name, name)}: built {_JOIN.get(name, 'with')} "
        f"{_said(built)}, now {_said(wanted)}"
        for name in (field.name for field in fields(Fit))
        if (built := getattr(record, name)) != (wanted := getattr(here, name))
    }


def mismatch(record: Fit, here: Fit) -> str | None:
    """What has changed since the engine was built, `driver: built with 580.65, now 590.1`.

    Every field that differs, separated by semicolons; None where the engine fits.
    """
    return "; ".join(differences(record, here).values()) or None


def record_path(engine: Path) -> Path:
    """Where the record of an engine's file lies."""
    return engine.with_suffix(".json")


def read_record(engine: Path) -> EngineRecord:
    """The record of an engine's file. Raises ModelError where it is missing or cannot be right."""
    path = record_path(engine)
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_RECORD + 1)
        if len(content) > _LARGEST_RECORD:
            raise ModelError(f"{path}: larger than any engine's record ({_LARGEST_RECORD} bytes)")
        text = content.decode("utf-8")
    except OSError as exc:
        raise ModelError(f"{path}: the engine's record cannot be read ({exc.strerror})") from exc
    except UnicodeDecodeError as exc:
        raise ModelError(f"{path}: the engine's record is not JSON (not UTF-8)") from exc
    return EngineRecord.from_json(text, str(path))


def read_engine(engine: Path, here: Fit) -> tuple[EngineRecord, bytes]:
    """(record, content) of an engine that fits `here` and is the file its record names.

    The content that was hashed is the content that is returned, so it cannot be exchanged in
    between. Raises ModelError otherwise.
    """
    record = read_record(engine)
    if changed := mismatch(record, here):
        raise ModelError(f"{engine}: does not fit here ({changed})")
    try:
        content = engine.read_bytes()
    except OSError as exc:
        raise ModelError(f"{engine}: cannot be read ({exc.strerror})") from exc
    found = hashlib.sha256(content).hexdigest()
    if found != record.engine_sha256:
        raise ModelError(
            f"{engine}: is not the file that was built (sha256 {found[:12]}, its record says "
            f"{record.engine_sha256[:12]})"
        )
    return record, content


def any_profiles(here: Fit, engine: Path) -> Fit:
    """`here` with the shapes of `engine`, for who takes an engine of whatever shapes.

    Raises ModelError where its record cannot be read.
    """
    return replace(here, profiles=read_record(engine).profiles)


_LABELS = {"onnx_sha256": "model file"}
_JOIN = {"onnx_sha256": "from", "flavour": "for", "gpu": "for", "os": "for", "profiles": "for"}


def _said(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(value)
    if value is None:
        return "none"
    text = str(value)
    return text[:12] if re.fullmatch(r"[0-9a-f]{64}", text) else text


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError(f"expected a text, found {shown_value(value)}")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"expected a list, found {shown_value(value)}")
    return value


def _one_of(value: object, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"expected {' or '.join(known)}, found {shown_value(value)}")
    return str(value)


def _sha256(value: object) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text := _text(value)):
        raise ValueError(f"expected a SHA-256, found {shown_value(value)}")
    return text


def _capability(value: object) -> str:
    if not re.fullmatch(r"\d{1,2}\.\d", text := _text(value)):
        raise ValueError(f"expected a compute capability, found {shown_value(value)}")
    return text


def _shape(value: object) -> Shape:
    numbers = _list(value)
    count, height, width = numbers if len(numbers) == 3 else (0, 0, 0)
    for number in (count, height, width):
        if type(number) is not int or not 1 <= number <= _LONGEST_SIDE:
            raise ValueError(f"expected a shape [N, H, W], found {shown_value(value)}")
    return (count, height, width)  # type: ignore[return-value]
