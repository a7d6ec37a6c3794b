"""The source domain of step 1: pictures in classes.

Either `photographs`, the pictures that come with scikit-image, one class each, so that
the chain runs anywhere; or a class-per-folder tree such as ImageNet's.
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


@dataclass(frozen=True)
class Source:
    """A source domain: its classes and their pictures."""

    name: str
    """`photographs`, or the tree's full path."""
    classes: tuple[str, ...]
    pictures: tuple[tuple[Path, int], ...]
    """(file, class index)."""
    sha256: str
    """Of names and sizes in bytes: hashing every byte of an ImageNet would take longer than
    it is worth."""


def find_source(source: str) -> Source:
    """The source domain `photographs`, or that of a class-per-folder tree.

    Raises DataSetError when there are not at least two classes with pictures.
    """
    if source == SOURCE_PHOTOGRAPHS:
        folder = _photograph_folder()
        files = [folder / name for name in _PHOTOGRAPHS if (folder / name).is_file()]
        groups = {path.stem: [path] for path in files}
        where = "scikit-image's photographs"
    else:
        folder = Path(source).resolve()
        if not folder.is_dir():
            raise DataSetError(f"source domain {source}: is not a folder")
        groups = {
            child.name: _pictures(child) for child in sorted(folder.iterdir()) if child.is_dir()
        }
        groups = {name: files for name, files in groups.items() if files}
        where = f"source domain {source}"
    if len(groups) < 2:
        raise DataSetError(
            f"{where}: expected a folder per class with pictures "
            f"({', '.join(sorted(MICROGRAPH_SUFFIXES))}) in at least two, found {len(groups)}"
        )
    pictures = tuple((path, index) for index, files in enumerate(groups.values()) for path in files)
    name = source if source == SOURCE_PHOTOGRAPHS else str(folder)
    return Source(name, tuple(groups), pictures, _hash(folder, pictures))


def _photograph_folder() -> Path:
    from importlib.resources import files

    return Path(str(files("skimage.data")))


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in MICROGRAPH_SUFFIXES)


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

    def __call__(self, iteration: int) -> Batch:
        """Pictures [N, 224, 224, 3] and class indices [N] of an iteration."""
        import numpy as np

        drawn = [self._draw(iteration, place) for place in range(self._batch)]
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
        picture = Image.fromarray(_read(path))
        if self._kept is not None:
            self._kept[path] = picture
        return picture


def photographs(count: int) -> list[NDArray[np.uint8]]:
    """The first `count` of scikit-image's photographs, uint8 [H, W, 3] RGB."""
    return [_read(path) for path, _ in find_source(SOURCE_PHOTOGRAPHS).pictures[:count]]


def _read(path: Path) -> NDArray[np.uint8]:
    """A picture as uint8 [H, W, 3] RGB, by the rules for micrographs. Raises DataSetError."""
    try:
        with open_micrograph(path) as opened:
            return opened.pages[0].read()
    except MicrographError as exc:
        raise DataSetError(f"{path}: {exc}") from exc
