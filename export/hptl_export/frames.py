"""What exported models are verified on and calibrated with: crops of micrographs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from hptl_deploy.datasets import load_data_set
from hptl_deploy.errors import DataSetError, InputError, MicrographError, RunError
from hptl_deploy.micrographs import open_micrograph
from hptl_deploy.model import ModelCard
from hptl_deploy.segmentation.inputs.listing import list_inputs
from hptl_deploy.tiling import Region
from hptl_export.effort import side_of_look

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hptl_train.run_folder import RunFolder

_Item = TypeVar("_Item")

_FRAMES = 4
_LEAST_SIDE, _LARGEST_SIDE = 256, 1536
"""Verification looks at the upper left corner of up to four micrographs, of a side between these
in pixels of the network's input, as `effort` says; the largest takes a few GiB of memory."""

_CALIBRATION_FRAMES = 16
_CALIBRATION_SIDE = 512
"""Calibration looks at the middle of so many micrographs of a folder, spread evenly over its
listing. Ranges settle after a few; more micrographs of one specimen add little."""


@dataclass(frozen=True)
class Frames:
    """Crops of micrographs, and their labels where there are some."""

    pictures: list[NDArray[np.uint8]]
    """[H, W, 3] each, sides that are multiples of the stride."""
    truths: list[NDArray[np.uint8]] | None
    """Class indices [H, W] each, 255 where unlabelled; None without labels."""
    what: str
    """For messages and the card."""


def verification_frames(run: RunFolder, stride: int, per_pixel: float) -> Frames:
    """What a model of `run`, which takes `per_pixel` operations, is verified on.

    Validation micrographs of the run's data set; its training micrographs where it has no
    validation split; scikit-image's photographs where the data set has moved away.
    """
    record = run.read()
    truths: list[NDArray[np.uint8]] | None
    try:
        data_set = load_data_set(Path(record["data"]["path"]))
        samples = data_set.split("val") or data_set.split("train")
        read = [data_set.read(sample) for sample in samples[:_FRAMES]]
        pictures, truths = [pixels for pixels, _ in read], [labels for _, labels in read]
        kind = "validation" if data_set.split("val") else "training"
        what = f"crops of {len(pictures)} {kind} micrographs of {data_set.name}"
    except DataSetError:
        from hptl_train.data.source import photographs

        pictures, truths = photographs(_FRAMES), None
        place = record["data"]["path"]
        what = f"crops of {len(pictures)} photographs (the run's data set is not at {place})"
    scale = run.chain().input.scale
    side = side_of_look(
        per_pixel, stride, len(pictures), _LEAST_SIDE // scale, _LARGEST_SIDE // scale
    )
    crops = [_corner(picture, side, stride) for picture in pictures]
    labels = None if truths is None else [_corner(truth, side, stride) for truth in truths]
    whole = [place for place, crop in enumerate(crops) if crop.size]
    if not whole:
        raise RunError(
            f"run {run.name}: the micrographs of its data set are smaller than {stride} px, so "
            "nothing can be verified"
        )
    return Frames(
        [crops[place] for place in whole],
        None if labels is None else [labels[place] for place in whole],
        what,
    )


def calibration_frames(folder: Path, card: ModelCard) -> Frames:
    """Micrographs of `folder` (or the file that it is), read as `segment` reads them.

    Raises InputError where there is none, MicrographError where one cannot be read.
    """
    whole = folder.resolve()  # `.` has no name
    listing = list_inputs(folder, Path(f"{whole}-segmented"))
    side = max(card.stride, _CALIBRATION_SIDE // card.input_scale // card.stride * card.stride)
    files = spread(listing.files, _CALIBRATION_FRAMES)
    crops = []
    for listed in files:
        try:
            with open_micrograph(listed.path) as micrograph:
                page = micrograph.pages[0]
                rows = middle(page.height, side, card.stride)
                columns = middle(page.width, side, card.stride)
                crop = page.read(Region(*rows, *columns))
        except MicrographError as exc:
            raise MicrographError(f"{listed.path}: {exc.message}", hint=exc.hint) from exc
        if crop.size:
            crops.append(np.ascontiguousarray(crop))
    if not crops:
        raise InputError(
            f"{folder}: holds no micrograph of at least {card.stride} x {card.stride} px to "
            "calibrate with"
        )
    # The card travels with the model; where the folder lies on this machine is nobody's business.
    return Frames(crops, None, f"crops of {len(crops)} micrographs of {whole.name}")


def _corner(picture: NDArray[np.uint8], side: int, stride: int) -> NDArray[np.uint8]:
    """The upper left corner, at most `side` pixels a side; empty where less than a stride."""
    height, width = (min(side, length // stride * stride) for length in picture.shape[:2])
    return np.ascontiguousarray(picture[:height, :width])


def middle(length: int, side: int, stride: int) -> tuple[int, int]:
    """Where the middle `side` pixels, fewer if there are fewer, begin and end."""
    taken = min(side, length // stride * stride)
    start = (length - taken) // 2
    return start, start + taken


def spread(files: Sequence[_Item], count: int) -> list[_Item]:
    """At most `count` of `files`, evenly spaced."""
    step = max(1.0, len(files) / count)
    return [files[int(place * step)] for place in range(min(count, len(files)))]
