"""A folder of synthetic micrographs as a labelled data set.

DIR/images/frame_0001.jpg   RGB, states its pixel size
DIR/labels/frame_0001.png   class indices, uint8, in the phases' colours
DIR/dataset.toml            what `train` and `evaluate` read
DIR/frames.csv              what each frame is made of
DIR/synth.json              the series: what lets an interrupted call go on

Columns of frames.csv: area fractions are those of the labels; greys are the means of R, G and
B, of the matrix in levels of 0 to 255, of the phases as shares of it, before the lens and the
camera's curve change them.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from hptl_deploy import __version__
from hptl_deploy.datasets.description import DATA_SET_FILE, phases_toml
from hptl_deploy.errors import InputError, Interrupted, UsageError
from hptl_deploy.files import (
    TEMPORARY_SUFFIX,
    atomic_path,
    remove_leftovers,
    write_bytes,
    write_json,
    write_text,
)
from hptl_deploy.phases import PAPER_PHASES, palette
from hptl_deploy.sink import Silent, Sink
from hptl_deploy.synthesis.frame import check_size, draw_conditions, make_frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

REQUEST_FILE = "synth.json"
FRAMES_FILE = "frames.csv"
GENERATOR = 1
"""Raised when the same seed comes to give other frames."""

_BYTES_PER_PIXEL = 120
"""A frame in the making, with some reserve: about 25 float32 planes are alive at once."""


@dataclass(frozen=True)
class SynthesisRequest:
    """What is asked for."""

    folder: Path
    images: int
    """How many frames the folder is to hold."""
    height: int
    """Of each, px; as `width`."""
    width: int
    seed: int
    """0 or more."""

    def check(self) -> None:
        """Raise UsageError for a size that no frame can have, a number or seed below its least."""
        check_size(self.height, self.width)
        for name, value, least in (("images", self.images, 1), ("seed", self.seed, 0)):
            if value < least:
                raise UsageError(f"--{name} {value}: expected {least} or more")

    def series(self) -> dict[str, Any]:
        """What every frame depends on besides its number."""
        return {
            "generator": GENERATOR,
            "seed": self.seed,
            "width_px": self.width,
            "height_px": self.height,
        }


def write_data_set(
    request: SynthesisRequest, sink: Sink | None = None, stop: threading.Event | None = None
) -> list[dict[str, Any]]:
    """Make the frames that are not there yet; returns the rows of frames.csv.

    A folder that holds the first frames of the same series gets the missing ones, so an
    interrupted call goes on and `images` may be raised later. The files' bytes depend on the
    request alone, not on how often it was interrupted nor on the number of threads.

    Raises UsageError (the request), InputError (the folder holds something else, or more),
    OSError as the system does, and Interrupted after `stop` was set, with the finished frames
    kept.
    """
    request.check()
    sink, stop = sink or Silent(), stop or threading.Event()
    _open_folder(request)
    missing = [n for n in range(request.images) if not _is_done(request, n)]
    if found := request.images - len(missing):
        sink.note(f"{request.folder}: frames there already: {found}")
    with sink.progress("synth", request.images, "frames", request.images - len(missing)) as bar:
        for number in _each_made(request, missing, stop):
            bar.advance(1, _stem(number))
    if stop.is_set() and not all(_is_done(request, n) for n in missing):
        raise Interrupted(
            f"{request.folder}: interrupted; finished frames are kept",
            hint="The same command goes on from here",
        )
    rows = [_row(request, number) for number in range(request.images)]
    _write_table(request.folder / FRAMES_FILE, rows)
    return rows


def _open_folder(request: SynthesisRequest) -> None:
    """Refuse a folder that is another's, else lay it out."""
    folder = request.folder
    where = folder / REQUEST_FILE
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; expected a folder", hint="Choose another")
    if where.is_file():
        _check_series(where, request)
    elif folder.is_dir() and not all(p.name.endswith(TEMPORARY_SUFFIX) for p in folder.iterdir()):
        raise InputError(
            f"{folder}: is not empty and holds no synthetic data set",
            hint="Choose another folder, or a new one",
        )
    # In this order: a folder that is left half-made is known as ours, and what is trained from
    # it as synthetic.
    write_json(where, request.series())
    write_text(folder / DATA_SET_FILE, _description(request))
    for name in ("images", "labels"):
        (folder / name).mkdir(exist_ok=True)
    remove_leftovers(folder)


def _check_series(where: Path, request: SynthesisRequest) -> None:
    """Raise InputError where the folder's frames are of another series, or more than asked for."""
    try:
        recorded = json.loads(where.read_text(encoding="utf-8"))
    except ValueError:
        recorded = None
    if recorded != request.series():
        raise InputError(
            f"{where.parent}: holds frames of another series ({_said(recorded)}), not of "
            f"{_said(request.series())}",
            hint="Choose another folder",
        )
    numbers = [re.fullmatch(r"frame_(\d+)", path.stem) for path in where.parent.glob("*/frame_*")]
    held = max((int(number[1]) for number in numbers if number), default=0)
    if held > request.images:
        raise InputError(
            f"{where.parent}: holds frame {held} of this series already, more than the "
            f"{request.images} asked for",
            hint=f"Ask for {held} or more, or choose another folder",
        )


def _said(series: object) -> str:
    if not isinstance(series, dict):
        return f"{REQUEST_FILE} is damaged"
    size = f"{series.get('width_px')}x{series.get('height_px')}"
    return f"seed {series.get('seed')}, {size} px, generator {series.get('generator')}"


def _each_made(
    request: SynthesisRequest, numbers: list[int], stop: threading.Event
) -> Iterator[int]:
    """Numbers of the frames as they are finished, one thread per core as memory allows."""
    waiting = iter(numbers)
    running: dict[Future[None], int] = {}
    threads = _threads(request)
    with ThreadPoolExecutor(threads, thread_name_prefix="synth") as pool:

        def start_next() -> None:
            number = None if stop.is_set() else next(waiting, None)
            if number is not None:
                running[pool.submit(_write_frame, request, number)] = number

        for _ in range(threads):
            start_next()
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                number = running.pop(future)
                future.result()
                start_next()
                yield number


def _threads(request: SynthesisRequest) -> int:
    import psutil

    each = request.height * request.width * _BYTES_PER_PIXEL
    fitting = int(psutil.virtual_memory().available) // (2 * each)
    return max(1, min(os.cpu_count() or 1, 8, fitting))


def _stem(number: int) -> str:
    return f"frame_{number + 1:04d}"


def _files(request: SynthesisRequest, number: int) -> tuple[Path, Path]:
    """(micrograph, label)."""
    stem = _stem(number)
    return request.folder / "images" / f"{stem}.jpg", request.folder / "labels" / f"{stem}.png"


def _is_done(request: SynthesisRequest, number: int) -> bool:
    return all(path.is_file() for path in _files(request, number))


def _write_frame(request: SynthesisRequest, number: int) -> None:
    frame = make_frame(request.seed, number, request.height, request.width)
    image, label = _files(request, number)
    picture = Image.fromarray(frame.labels)
    picture.putpalette(palette(PAPER_PHASES).tobytes())
    with atomic_path(label) as temporary:
        picture.save(temporary, "PNG", optimize=False, compress_level=9)
    write_bytes(image, frame.jpeg)


def _row(request: SynthesisRequest, number: int) -> dict[str, Any]:
    image, label = _files(request, number)
    with Image.open(label) as picture:
        shares = _area_fractions(np.asarray(picture))
    _, specimen, camera = draw_conditions(request.seed, number)
    return {
        "file": image.relative_to(request.folder).as_posix(),
        "pixel_size_um": camera.pixel_size_um,
        **{f"{p.key}_area_fraction": f"{s:.6f}" for p, s in zip(PAPER_PHASES, shares, strict=True)},
        "matrix_grey": f"{sum(camera.matrix) / 3:.1f}",
        "mg2si_relative_grey": f"{sum(camera.mg2si) / 3:.3f}",
        "fe_relative_grey": f"{sum(camera.fe) / 3:.3f}",
        "blur_sigma_px": f"{camera.blur[1]:.2f}",
        "noise_sigma_grey": f"{camera.noise:.2f}",
        "falloff": f"{camera.falloff:.3f}",
        "jpeg_quality": camera.jpeg_quality,
        "dispersoids_per_um2": f"{specimen.dispersoids_per_um2:.3f}",
    }


def _area_fractions(labels: NDArray[np.uint8]) -> list[float]:
    counts = np.bincount(labels.ravel(), minlength=len(PAPER_PHASES))
    return [float(count) / labels.size for count in counts]


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _description(request: SynthesisRequest) -> str:
    command = (
        f"hptl-deploy synth DIR --images {request.images} "
        f"--size {request.width}x{request.height} --seed {request.seed}"
    )
    return f"""\
# Synthetic micrographs of as-cast aluminium. Every file in images/ states its own pixel size;
# frames.csv lists what each frame is made of.

name = "synthetic aluminium {request.seed}"
images = "images"
labels = "labels"
synthetic = true
origin = "{command} (hptl-deploy {__version__}, generator {GENERATOR})"
licence = "CC0-1.0"

{phases_toml(PAPER_PHASES)}
[split]
val = 0.1
test = 0.1
"""
