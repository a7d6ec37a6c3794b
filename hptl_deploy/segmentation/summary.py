"""What came of a run, for whoever started it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hptl_deploy.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_SOME_FAILED
from hptl_deploy.segmentation.inputs.listing import Failure
from hptl_deploy.segmentation.shards.sharding import Shard
from hptl_deploy.statistics.findings import Findings


@dataclass(frozen=True)
class RunSummary:
    """What came of a run."""

    out: Path
    state: str
    """`finished` or `interrupted`."""
    counts: dict[str, int]
    """Inputs `done` and `skipped` (done before), `failed`, `remaining` (after an interrupt),
    and other files `ignored`."""
    area_fractions: dict[str, float]
    """By phase, mean over the fields that statistics count, 0 to 1; empty without fields."""
    fields: int
    """Rows of fields.csv."""
    left_out: int = 0
    """Of these, fields of which something is left out."""
    flags: dict[str, int] = field(default_factory=dict)
    """How many of them have each quality flag."""
    failures: tuple[Failure, ...] = ()
    throughput: dict[str, Any] = field(default_factory=dict)
    """As in run.json: seconds, pages, megapixels, their rates, and what held them up."""
    results: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    """`file`, `page` and `classes_file` (below `out`) of every field."""
    shard: Shard | None = None
    """The share of the inputs that all of this is about; None: all of them."""
    findings: Findings = field(default_factory=Findings, repr=False)
    """What the fields say together."""
    report: Path | None = None
    """report.html; None where there is none."""

    @property
    def exit_code(self) -> int:
        """What a command line ends with."""
        if self.state == "interrupted":
            return EXIT_INTERRUPTED
        return EXIT_SOME_FAILED if self.failures else EXIT_OK
