"""Everything that is stated over the fields of a run, in one object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hptl_deploy.statistics.lines import AREA_FRACTION, Line
from hptl_deploy.statistics.samples import ALL
from hptl_deploy.statistics.sizes import ParticleLine, SizeClass


@dataclass(frozen=True)
class Findings:
    """Lines of statistics.csv, particle_statistics.csv and sizes.csv, and notes on them."""

    lines: tuple[Line, ...] = ()
    particles: tuple[ParticleLine, ...] = ()
    classes: tuple[SizeClass, ...] = ()
    notes: tuple[str, ...] = ()
    """Sentences that belong beside the figures."""

    def area_fractions(self, group: str = ALL) -> list[Line]:
        """A line per phase; none without fields."""
        return [x for x in self.lines if (x.quantity, x.group) == (AREA_FRACTION, group)]

    def particles_of_all(self) -> list[ParticleLine]:
        """A line per phase and unit, over all pages."""
        return [line for line in self.particles if line.group == ALL]

    def groups(self) -> list[str]:
        """The groups in order, (all) not among them; empty where there is but one."""
        return [group for group in dict.fromkeys(line.group for line in self.lines) if group != ALL]

    def to_json(self) -> dict[str, Any]:
        """For `--json`; the size classes are in sizes.csv."""
        return {
            "fields": [line.to_json() for line in self.lines],
            "particles": [line.to_json() for line in self.particles],
            "notes": list(self.notes),
        }
