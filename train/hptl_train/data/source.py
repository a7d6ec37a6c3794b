"""The source domain of step 1: pictures in classes.

Either `photographs`, the pictures that come with scikit-image, one class each, so that
the chain runs anywhere; or a class-per-folder tree such as ImageNet's, or ImageNet's two trees
`train` and `val`. Of a tree some pictures are held out from training; of photographs there is
nothing to hold out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hptl_deploy.errors import DataSetError, MicrographError
from hptl_deploy.micrographs import MICROGRAPH_SUFFIXES, open_micrograph
from hptl_train.data.batches import Batch, generator
from hptl_train.data.source_split import (
    TRAIN,
    Groups,
    class_groups,
    drawn_split,
    given_split,
    is_split,
)
from hptl_train.networks.vgg19 import CLASSIFIER_SIDE
from hptl_train.recipe import SOURCE_PHOTOGRAPHS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

_PHOTOGRAPHS = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "cell.png",
    "chelsea.png",
    "clock_motion.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "microaneurysms.png",
    "moon.png",
    "motorcycle_left.png",
    "page.png",
    "retina.jpg",
    "rocket.jpg",
    "text.png",
)
_SMALLEST_SHARE = 0.5
"""A crop's side is this share to all of the picture's shorter side: scale varies, too."""
_STREAM_SOURCE = 21
_SCORED_SIDE = 256
"""The shorter side that a scored picture is brought to."""


@dataclass(frozen=True)
class Source:
    """A source domain: its classes and their pictures."""

    name: str
    """`photographs`, or the tree's full path."""
    classes: tuple[str, ...]
    pictures: tuple[tuple[Path, int], ...]
    """(file, class index), to train on."""
    sha256: str
    """Of names and sizes in bytes, held-out pictures too: hashing every byte of an ImageNet
    would take longer than it is worth."""
    held_out: tuple[tuple[Path, int], ...] = ()
    """(file, class index), to score by: `val`'s, or a share of the tree; none of photographs
    and of classes of fewer than 5 pictures."""


def find_source(source: str) -> Source:
    """The source domain `photographs`, or that of a class-per-folder tree.

    A tree with ImageNet's sub-folders `train` and `val` is trained on the one and scored on
    the other; of any other tree a share is held out (`drawn_split`). Raises DataSetError when
    there are not at least two classes with pictures, or `val` does not go with `train`.
    """
    if source == SOURCE_PHOTOGRAPHS:
        folder = _photograph_folder()
        files = [folder / name for name in _PHOTOGRAPHS if (folder / name).is_file()]
        groups = {path.stem: [path] for path in files}
        return _source(source, folder, "scikit-image's photographs", groups, groups, {})
    folder = Path(source).resolve()
    if not folder.is_dir():
        raise DataSetError(f"source domain {source}: is not a folder")
    if is_split(folder):
        train, held_out = given_split(folder)
        both = {name: files + held_out.get(name, []) for name, files in train.items()}
        return _source(
            str(folder), folder, f"source domain {source}/{TRAIN}", both, train, held_out
        )
    groups = class_groups(folder)
    return _source(str(folder), folder, f"source domain {source}", groups, *drawn_split(groups))


def _source(
    name: str, folder: Path, where: str, groups: Groups, train: Groups, held_out: Groups
) -> Source:
    """The source of all pictures `groups`, of which `train` and `held_out` are the two parts."""
    if len(groups) < 2:
        raise DataSetError(
            f"{where}: expected a folder per class with pictures "
            f"({', '.join(sorted(MICROGRAPH_SUFFIXES))}) in at least two, found {len(groups)}"
        )
    classes = tuple(groups)
    return Source(
        name,
        classes,
        _numbered(train, classes),
        _hash(folder, _numbered(groups, classes)),
        _numbered(held_out, classes),
    )


def _numbered(groups: Groups, classes: tuple[str, ...]) -> tuple[tuple[Path, int], ...]:
    return tuple(
        (path, index) for index, name in enumerate(classes) for path in groups.get(name, [])
    )


def _photograph_folder() -> Path:
    from importlib.resources import files

    return Path(str(files("skimage.data")))


def _hash(folder: Path, pictures: Sequence[tuple[Path, int]]) -> str:
    digest = hashlib.sha256()
    for path, index in pictures:
        name = path.relative_to(folder).as_posix()
        digest.update(f"{name}/{index}/{path.stat().st_size}\n".encode())
    return digest.hexdigest()


class SourceBatches:
    """Batches of random crops of a source domain, 224 x 224 whatever the pictures' sizes."""

    def __init__(self, source: Source, batch: int, seed: int, step_index: int) -> None:
        self._source = source
        self._batch = batch
        self._words = (seed, _STREAM_SOURCE, step_index)
        # Few pictures are kept decoded; a large tree is read as it is drawn.
        self._kept: dict[Path, Image.Image] | None = {} if len(source.pictures) <= 64 else None

    def __call__(self, iteration: int, places: range | None = None) -> Batch:
        """Pictures [N, 224, 224, 3] and class indices [N] of an iteration.

        `places` are those of the batch that are wanted, by default all; each is drawn for itself,
        so processes may share a batch out.
        """
        import numpy as np

        wanted = range(self._batch) if places is None else places
        drawn = [self._draw(iteration, place) for place in wanted]
        return Batch(
            np.stack([pixels for pixels, _ in drawn]),
            np.array([index for _, index in drawn], np.int64),
        )

    def _draw(self, iteration: int, place: int) -> tuple[NDArray[np.uint8], int]:
        import numpy as np
        from PIL import Image

        rng = generator(*self._words, iteration, place)
        path, index = self._source.pictures[rng.integers(len(self._source.pictures))]
        picture = self._open(path)
        side = max(1, round(rng.uniform(_SMALLEST_SHARE, 1) * min(picture.size)))
        left = int(rng.integers(picture.width - side + 1))
        top = int(rng.integers(picture.height - side + 1))
        crop = picture.resize(
            (CLASSIFIER_SIDE, CLASSIFIER_SIDE),
            Image.Resampling.BILINEAR,
            box=(left, top, left + side, top + side),
        )
        pixels = np.asarray(crop)
        return np.ascontiguousarray(pixels[:, ::-1] if rng.integers(2) else pixels), index

    def _open(self, path: Path) -> Image.Image:
        from PIL import Image

        if self._kept is not None and path in self._kept:
            return self._kept[path]
        picture = Image.fromarray(read_picture(path))
        if self._kept is not None:
            self._kept[path] = picture
        return picture


def centre_crop(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The part of a picture [H, W, 3] that is scored, [224, 224, 3].

    The usual single view of ImageNet: the shorter side is brought to 256 (Krizhevsky, Sutskever
    and Hinton, 2012, section 2), of which the central 224 are seen. The accuracies that torchvision
    states for its weights are of this view.
    """
    import numpy as np
    from PIL import Image

    picture = Image.fromarray(pixels)
    side = min(picture.size) * CLASSIFIER_SIDE / _SCORED_SIDE
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    crop = picture.resize(
        (CLASSIFIER_SIDE, CLASSIFIER_SIDE),
        Image.Resampling.BILINEAR,
        box=(left, top, left + side, top + side),
    )
    return np.asarray(crop)


def photographs(count: int) -> list[NDArray[np.uint8]]:
    """The first `count` of scikit-image's photographs, uint8 [H, W, 3] RGB."""
    return [read_picture(path) for path, _ in find_source(SOURCE_PHOTOGRAPHS).pictures[:count]]


def read_picture(path: Path) -> NDArray[np.uint8]:
    """A picture as uint8 [H, W, 3] RGB, by the rules for micrographs. Raises DataSetError."""
    try:
        with open_micrograph(path, by_content=True) as opened:
            return opened.pages[0].read()
    except MicrographError as exc:
        raise DataSetError(f"source domain picture {path}: {exc}") from exc
