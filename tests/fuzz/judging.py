"""What one damaged file leads to: a result, a clear error, or a finding."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fuzz.model_mutations import mutated_model
from fuzz.mutations import Change, chance_of, mutated
from fuzz.raster_mutations import BMP_CHANGES, JPEG_CHANGES, PNG_CHANGES
from fuzz.seeds import picture_seeds
from fuzz.tiff_mutations import TIFF_CHANGES, change_stream
from hptl_deploy.engines.onnxruntime import OnnxRuntimeEngine
from hptl_deploy.errors import EngineError, HptlError, MicrographError, ModelError
from hptl_deploy.micrographs import Page, decoded, open_micrograph
from hptl_deploy.model import load_model
from hptl_deploy.tiling import Region

LONGEST_SENTENCE = 300
"""Characters of an error, the name of the file aside."""
READ, REFUSED, NO_MEMORY = "read", "refused", "no memory"
"""Outcomes that are none of the program's faults; the last is counted by itself, because a file of
some kilobytes that asks for more than the cap is worth a look."""

_CHANGES: dict[str, tuple[Change, ...]] = {
    ".png": tuple(PNG_CHANGES),
    ".jpg": tuple(JPEG_CHANGES),
    ".jpeg": tuple(JPEG_CHANGES),
    ".bmp": tuple(BMP_CHANGES),
}
_OUT_OF_MEMORY = ("needs more memory than is free", "has no memory left")
_MACHINE = re.compile(r"(/(home|work|tmp|root|opt|usr|var)/|[A-Z]:\\|site-packages)")


@dataclass(frozen=True)
class Family:
    """Files of one kind: how the one of a seed and a number is made, and judged."""

    make: Callable[[int, int], tuple[str, bytes]]
    """(what it was before and its suffix, content)."""
    judge: Callable[[Path], str]


def make_picture(seed: int, number: int) -> tuple[str, bytes]:
    """The damaged picture with this number."""
    chance, seeds = chance_of(seed, number), picture_seeds()
    chosen = chance.choice(seeds)
    others = [other.content for other in seeds if other.suffix == chosen.suffix]
    changes = _CHANGES.get(chosen.suffix, tuple(TIFF_CHANGES))
    return f"{chosen.name}{chosen.suffix}", mutated(chosen.content, others, changes, chance)


def make_stream(seed: int, number: int) -> tuple[str, bytes]:
    """A TIFF whose directory is sound, and its pixels not: what decoders in C have to bear."""
    chance = chance_of(seed, number)
    chosen = chance.choice([s for s in picture_seeds() if s.suffix in (".tif", ".tiff")])
    content = bytearray(chosen.content)
    for _ in range(chance.choice((1, 1, 2, 3))):
        content = change_stream(content, chance)
    return f"{chosen.name}{chosen.suffix}", bytes(content)


def make_model(seed: int, number: int) -> tuple[str, bytes]:
    """The damaged model with this number."""
    return "model.onnx", mutated_model(chance_of(seed, number))


def judge_picture(path: Path) -> str:
    """Open, read every page whole and one region of it; AssertionError is a finding."""
    # Regions are decoded by themselves, as those of large pages are.
    decoded.LARGEST_KEPT_BYTES = 0
    try:
        with open_micrograph(path) as micrograph:
            assert micrograph.pages, "no pages"
            for page in micrograph.pages:
                _judge_page(page)
    except MicrographError as exc:
        return _judged_sentence(exc, path, "")
    return READ


def _judge_page(page: Page) -> None:
    whole = page.read()
    expected = (page.height, page.width, 3)
    assert whole.dtype == np.uint8, f"pixels of {whole.dtype}"
    assert whole.shape == expected, f"pixels {whole.shape}, declared {expected}"
    assert page.calibration.source.isprintable(), f"source {page.calibration.source!r}"
    region = Region(page.height // 3, page.height, page.width // 4, page.width // 2 + 1)
    part = page.read(region)
    assert np.array_equal(part, whole[region.slices]), "a region differs from the whole's"
    with page.bands(overlap=3) as reader:
        for top in range(0, min(page.height, 400), 16):
            band = reader.read(max(0, top - 3), bottom := min(top + 16, page.height))
            assert np.array_equal(band, whole[max(0, top - 3) : bottom]), "a band differs"


def judge_model(path: Path) -> str:
    """Load, and run on a picture of two strides a side; AssertionError is a finding."""
    try:
        model = load_model(path)
        side = 2 * model.card.stride
        with OnnxRuntimeEngine(model, threads=1) as engine:
            answer = engine.infer(np.full((1, side, side, 3), 99, np.uint8))
        for plane in (answer.classes, answer.confidence):
            assert plane.shape == (1, side, side), f"an answer of shape {plane.shape}"
            assert plane.dtype == np.uint8, f"an answer of {plane.dtype}"
    except (ModelError, EngineError) as exc:
        return _judged_sentence(exc, path, str(path))
    return READ


def _judged_sentence(error: HptlError, path: Path, allowed: str) -> str:
    text = str(error)
    if allowed:
        text = text.replace(allowed, "")
    assert text.isprintable(), f"not one printable line: {text!r}"
    assert len(text) <= LONGEST_SENTENCE, f"{len(text)} characters: {text}"
    assert "unexpected" not in text.lower(), f"unexpected: {text}"
    for foreign in (str(path.parent), path.name, sys.prefix):
        assert foreign not in text, f"names {foreign}: {text}"
    assert not _MACHINE.search(text), f"names a path of this machine: {text}"
    return NO_MEMORY if any(words in text for words in _OUT_OF_MEMORY) else REFUSED


def judge_trap(path: Path) -> str:
    """What the campaign has to see, by the number in the file."""
    match int(path.read_bytes()):
        case 1:
            os.abort()
        case 2:
            time.sleep(60)
        case 3:
            with contextlib.suppress(MemoryError):
                return str(len(bytearray(2 << 30)))
            return NO_MEMORY
        case 4:
            raise ValueError("untranslated")
        case 5:
            os.write(2, b"noise")
        case 6:
            return _judged_sentence(MicrographError(f"is {path.parent}"), path, "")
    return READ


FAMILIES = {
    "traps": Family(lambda _, number: (f"trap {number}", str(number).encode()), judge_trap),
    "pictures": Family(make_picture, judge_picture),
    "streams": Family(make_stream, judge_picture),
    "models": Family(make_model, judge_model),
}
