"""What a segmentation run is asked to do."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hptl_deploy.errors import UsageError
from hptl_deploy.files import sha256_json
from hptl_deploy.left_out.given import LeaveOut
from hptl_deploy.outputs.kinds import check_also
from hptl_deploy.rescaling.ratio import RESCALE
from hptl_deploy.statistics.table_options import TableOptions

if TYPE_CHECKING:
    from hptl_deploy.segmentation.shards.sharding import Shard

STABLE_SECONDS = 5.0
"""Writers pause: between pages, on busy shares."""

OVERLAYS = ("jpg", "png", "none")

# Part of the settings' hash: raised when the same settings come to give other files.
# 2: pixel sizes from EXIF in JPEG; 3: mosaics are pyramids; 4: measurements;
# 5: free paths of mosaics' fields, scale bars in mosaics
_OUTPUTS_VERSION = 5


def absolute(path: Path) -> Path:
    """`path` from the root, without `..`; links are not followed, so names stay the user's."""
    return Path(os.path.abspath(path))  # noqa: PTH100


@dataclass(frozen=True)
class SegmentOptions:
    """The input and the settings of one run."""

    input: Path
    """A folder, searched recursively, or one file."""
    out: Path | None = None
    """The results folder; None: `<input>-segmented`, beside the input."""
    tile: int | None = None
    """Side of a core in pixels; None: whole frames, or what memory allows."""
    pixel_size_um: float | None = None
    """Overrides what the files say."""
    data_set_pixel_size_um: float | None = None
    """For files that say nothing; set by `segment`, from the dataset.toml of `input`."""
    rescale: str = "auto"
    """`auto`: the network sees micrographs at the pixel size that it learned from; or `off`."""
    overlay: str = "jpg"
    """`jpg`, `png` or `none`."""
    confidence: bool = False
    """Write confidence maps, too."""
    particles: bool = True
    """Measure the particles of every page."""
    also: tuple[str, ...] = ()
    """Further formats, of `outputs.kinds.KINDS`."""
    leave_out: LeaveOut = field(default_factory=LeaveOut)
    """What becomes 255 in the class maps."""
    overwrite: bool = False
    """Do again what is done already."""
    split: str | None = None
    """Only this split, where the input is a data set."""
    watch: bool = False
    """Go on with what arrives in the folder, until stopped."""
    stable_seconds: float = STABLE_SECONDS
    """With `watch`: so long nobody may have written to a file."""
    shard: Shard | None = None
    """Only this share of the inputs; the others are for other machines."""
    tables: TableOptions = field(default_factory=TableOptions)
    """How tables are written; no part of `settings`, because every run makes them anew."""
    report: bool = True
    """Write report.html at the end; a shard has none."""

    @property
    def out_folder(self) -> Path:
        """Where the results go, absolute."""
        if self.out is not None:
            return absolute(self.out)
        source = absolute(self.input)
        if not source.name:
            raise UsageError(f"{source}: has no folder beside it", hint="Name one with --out")
        stem = source.name if source.is_dir() else source.stem
        return source.with_name(f"{stem}-segmented")

    def check(self) -> None:
        """Raise UsageError for what cannot be meant, EnvironmentLacks for what is missing."""
        if self.overlay not in OVERLAYS:
            raise UsageError(f"--overlay {self.overlay}: expected jpg, png or none")
        check_also(self.also)
        if self.rescale not in RESCALE:
            raise UsageError(f"--rescale {self.rescale}: expected {' or '.join(RESCALE)}")
        self.tables.check()
        self.leave_out.check()
        out = os.path.realpath(self.out_folder)
        source = Path(os.path.realpath(self.input))
        folder = source if source.is_dir() else source.parent
        if os.path.normcase(out) == os.path.normcase(folder):
            raise UsageError(
                f"--out {self.out}: is the folder of the micrographs themselves",
                hint="Results need a folder of their own",
            )
        if self.watch and self.shard is not None:
            raise UsageError(
                f"--watch: not together with --shard {self.shard}, which splits what is there",
                hint="Leave one of them out",
            )
        if self.stable_seconds <= 0:
            raise UsageError(
                f"--stable {self.stable_seconds:g}: expected a number of seconds above 0"
            )
        if self.shard is not None and source.is_file():
            raise UsageError(
                f"--shard {self.shard}: {self.input} is one file, and shards split a folder",
                hint="Leave --shard out",
            )

    def settings(self) -> dict[str, Any]:
        """Everything that changes the results' bytes, apart from input and model.

        Tiles and devices are no part of it: they must not change results.
        """
        return {
            "pixel_size_um": self.pixel_size_um,
            "data_set_pixel_size_um": self.data_set_pixel_size_um,
            "rescale": self.rescale,
            "overlay": self.overlay,
            "confidence": self.confidence,
            "particles": self.particles,
            "also": sorted(self.also),
            **self.leave_out.settings(),
        }

    def settings_sha256(self) -> str:
        """A results folder is continued where this is the same."""
        return sha256_json({"outputs": _OUTPUTS_VERSION, **self.settings()})
