"""CVAT's segmentation masks: labelmap.txt, SegmentationClass/*.png, images in JPEGImages."""

from __future__ import annotations

from pathlib import Path

from hptl_deploy.annotations.base import Mask, Picture, Reader, Shape
from hptl_deploy.annotations.sources import Problem, files, folder_of, images, noted, only
from hptl_deploy.datasets.labels import listed_colours, pack_colours
from hptl_deploy.errors import MicrographError
from hptl_deploy.wording import one_line

_BACKGROUND = "background"
"""CVAT's name for pixels without annotation."""


class Cvat(Reader):
    """One colour mask per image."""

    name = "cvat"

    def recognises(self, source: Path) -> bool:
        """True where there are a labelmap.txt and masks."""
        root = folder_of(source)
        return (root / "labelmap.txt").is_file() and (root / "SegmentationClass").is_dir()

    def read(self, source: Path, problems: list[str]) -> list[Picture]:
        """One picture per mask."""
        root = folder_of(source)
        try:
            names = _label_map(root / "labelmap.txt")
        except Problem as exc:
            problems.append(str(exc))
            return []
        masks = root / "SegmentationClass"
        problems += [
            f"{path.name}: a JPEG mask has other colours at every edge; export masks as PNG"
            for path in files(masks, ".jpg", ".jpeg")
        ]
        candidates = [
            path
            for path in images(root)
            if not path.relative_to(root).parts[0].startswith("Segmentation")
        ]
        found = []
        for path in files(masks, ".png"):
            with noted(problems):
                image = only([p for p in candidates if p.stem == path.stem], path.stem, path.name)
                found.append(_picture(path, image, names))
        return found


def _label_map(path: Path) -> dict[int, str]:
    """Packed colour to label name; raises Problem for a map that says two things at once."""
    try:
        if path.stat().st_size > 2**20:
            raise Problem(f"{path.name}: has more than 1 MiB; expected one line per label")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise Problem(f"{path.name}: cannot be read ({one_line(str(exc))})") from exc
    names: dict[int, str] = {}
    for place, line in enumerate(lines):
        if not line.strip() or line.startswith("#"):
            continue
        parts = line.rsplit(":", 3)
        channels = parts[1].split(",") if len(parts) == 4 else []
        try:
            red, green, blue = (int(channel) for channel in channels)
        except ValueError:
            red = -1
        if red < 0 or not all(0 <= value <= 255 for value in (red, green, blue)):
            raise Problem(
                f"{path.name}, line {place + 1}: expected name:red,green,blue:parts:actions, "
                f"found {one_line(line, 60)}"
            )
        colour = red << 16 | green << 8 | blue
        if names.setdefault(colour, parts[0]) != parts[0]:
            raise Problem(
                f"{path.name}: {one_line(names[colour], 40)} and {one_line(parts[0], 40)} share "
                f"the colour ({red}, {green}, {blue})"
            )
    return names


def _picture(path: Path, image: Path, names: dict[int, str]) -> Picture:
    import numpy as np

    from hptl_deploy.micrographs import open_micrograph

    try:
        with open_micrograph(path) as mask:
            packed = pack_colours(mask.pages[0].read())
    except MicrographError as exc:
        raise Problem(f"{path.name}: {exc}") from exc
    colours, counts = np.unique(packed, return_counts=True)
    tally = dict(zip(colours.tolist(), counts.tolist(), strict=True))
    if unknown := {colour: count for colour, count in tally.items() if colour not in names}:
        shown = listed_colours(list(unknown), list(unknown.values()))
        raise Problem(f"{path.name}: unknown colours {shown}; labelmap.txt lists the others")
    picture = Picture(path.name, image, size=(packed.shape[1], packed.shape[0]))
    picture.shapes += [
        Shape(
            f"{path.name} ({one_line(names[colour], 40)})",
            (names[colour],),
            mask=Mask.of(packed == colour),
        )
        for colour in tally
        if names[colour].casefold() != _BACKGROUND
    ]
    return picture
