"""What came of a bench run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from hptl_deploy.bench.contenders import Absent, Traits
from hptl_deploy.bench.files import FileRun


@dataclass(frozen=True)
class Peak:
    """What a device did with a big matrix product in one precision."""

    precision: str
    device: str
    operations: int
    seconds: tuple[float, ...]
    """Of each round."""

    @property
    def rate(self) -> float:
        """Operations per second, by the median."""
        return self.operations / median(self.seconds)


@dataclass(frozen=True)
class Row:
    """One contender."""

    traits: Traits
    seconds: tuple[float, ...]
    """Of each round, from a decoded micrograph to its class map."""
    classes_ppm: float
    """Pixels of another class than the reference's, per million."""
    stages: dict[str, float] = field(default_factory=dict)
    """Median milliseconds on the card: `copy_in`, `compute`, `copy_out`; empty elsewhere."""
    card_bytes: int | None = None
    """Memory that the card lost to it, weights and buffers; None on a CPU."""
    streamed: float | None = None
    """Frames per second with several in flight; None for who takes one at a time."""
    files: FileRun | None = None
    """None for who is no engine."""

    @property
    def median(self) -> float:
        """Seconds per frame."""
        return median(self.seconds)


@dataclass(frozen=True)
class Result:
    """Everybody, on the same frames."""

    model: dict[str, Any]
    frames: dict[str, Any]
    """`what`, `width_px`, `height_px`, `count`."""
    operations: int
    """Of the network on one frame."""
    rows: tuple[Row, ...]
    absent: tuple[Absent, ...]
    peaks: tuple[Peak, ...]
    reference: int
    """Place among `rows` of whom the others are compared with."""
    machine: dict[str, Any]
    versions: dict[str, str]

    def ratio(self, row: Row) -> float:
        """How many times as fast as the reference: median over the rounds."""
        return faster(self.rows[self.reference].seconds, row.seconds)

    def mpx_per_second(self, row: Row) -> float:
        """Million micrograph pixels per second."""
        return float(1e-6 * self.frames["width_px"] * self.frames["height_px"] / row.median)

    def share_of_peak(self, row: Row) -> float | None:
        """The network's operations per second over the device's best; None where not measured.

        Tiles' halos are work that a frame does not need, and count for nothing.
        """
        traits = row.traits
        for peak in self.peaks:
            if (peak.precision, peak.device) == (traits.precision, traits.device):
                return self.operations / row.median / peak.rate
        return None

    def to_json(self) -> dict[str, Any]:
        """One document, every single time in it."""
        return {
            "model": self.model,
            "frames": self.frames,
            "operations_per_frame": self.operations,
            "reference": self.rows[self.reference].traits.name,
            "engines": [self._row_json(row) for row in self.rows],
            "absent": [vars(absent) for absent in self.absent],
            "peaks": [{**vars(peak), "operations_per_second": peak.rate} for peak in self.peaks],
            "machine": self.machine,
            "versions": self.versions,
        }

    def _row_json(self, row: Row) -> dict[str, Any]:
        traits = row.traits
        return {
            "name": traits.name,
            "backend": traits.backend,
            "device": traits.device,
            "precision": traits.precision,
            "whole_frame": traits.plan.whole,
            "largest_tile_px": list(traits.plan.largest_read),
            "seconds": list(row.seconds),
            "median_seconds": row.median,
            "fastest_seconds": min(row.seconds),
            "mpx_per_second": self.mpx_per_second(row),
            "times_as_fast_as_reference": self.ratio(row),
            "operations_per_second": self.operations / row.median,
            "share_of_peak": self.share_of_peak(row),
            "classes_differing_ppm": row.classes_ppm,
            "planned_bytes": traits.planned_bytes,
            "card_bytes": row.card_bytes,
            "stage_milliseconds": row.stages,
            "streamed_frames_per_second": row.streamed,
            "files": None if row.files is None else row.files.to_json(),
            "versions": traits.versions,
            "remarks": list(traits.remarks),
        }


def faster(reference: Sequence[float], times: Sequence[float]) -> float:
    """Median of the ratios within a round: how many times as fast as the reference."""
    return median(one / other for one, other in zip(reference, times, strict=True))
