"""Particles as a set of ImageJ regions: a zip of one .roi file per particle.

A particle of one part without holes is a traced region, like one of ImageJ's wand; any other a
composite one. Coordinates run along pixel edges and are whole numbers.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hptl_deploy.outputs.numbering import Numbered
from hptl_deploy.outputs.outlines import Part, particles_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hptl_deploy.phases import Phase

_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0
"""Of java.awt.geom.PathIterator."""
_LEVEL = 6


def write_rois(path: Path, particles: Numbered, phases: Sequence[Phase]) -> None:
    """Write the particles of a page, named by number and phase: `0001 mg2si`.

    No side of the page is longer than `kinds.LARGEST_ROI_SIDE`. Raises OSError.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for number, index, parts in particles_of(particles):
            phase = phases[index]
            name = f"{number:04d} {phase.key}"
            # A ZipInfo of its own has no time of day in it, so the same page gives the same bytes.
            entry = zipfile.ZipInfo(f"{name}.roi")
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, _region(name, parts, phase), compresslevel=_LEVEL)


def _region(name: str, parts: list[Part], phase: Phase) -> bytes:
    import roifile

    exteriors = np.concatenate([part.exterior for part in parts])
    left, top = map(int, exteriors.min(0))
    right, bottom = map(int, exteriors.max(0))
    region = roifile.ImagejRoi(
        left=left,
        top=top,
        right=right,
        bottom=bottom,
        name=name,
        stroke_color=bytes((255, *phase.colour)),
        roitype=roifile.ROI_TYPE.TRACED,
    )
    if len(parts) == 1 and not parts[0].holes:
        region.integer_coordinates = exteriors - [left, top]
        region.n_coordinates = len(exteriors)
    else:
        region.roitype = roifile.ROI_TYPE.RECT  # which is how ImageJ says composite
        rings = [ring for part in parts for ring in (part.exterior, *part.holes)]
        region.multi_coordinates = np.concatenate([_path(ring) for ring in rings])
        region.shape_roi_size = len(region.multi_coordinates)
    return region.tobytes()


def _path(ring: NDArray[np.int32]) -> NDArray[np.float32]:
    """A closed ring as segments, each with its kind before its point."""
    steps = np.full((len(ring), 3), _LINE, np.float32)
    steps[0, 0] = _MOVE
    steps[:, 1:] = ring
    return np.append(steps.reshape(-1), np.float32(_CLOSE))
