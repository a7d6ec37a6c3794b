"""Where specks of a few pixels lead the figures by number, in a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hptl_deploy.phases import Phase
from hptl_deploy.statistics.samples import ALL
from hptl_deploy.statistics.sizes import SPECK_PX, ParticleLine

_MANY = 0.2
"""Share of the uncut particles, by number, above which it is said."""
_LITTLE = 0.05
"""Share of their area, up to which area fractions hardly depend on specks."""


def speck_notes(lines: Iterable[ParticleLine], phases: Sequence[Phase]) -> list[str]:
    """A sentence for each phase of which more than a fifth are specks, over all fields."""
    names = {phase.key: phase.name for phase in phases}
    together = [line for line in lines if line.group == ALL]
    found = []
    for line in together:
        share = line.under_10_px_area_share
        if share is None or line.under_10_px <= _MANY * line.measured:
            continue
        name = names.get(line.phase, line.phase)
        if sum(one.phase == line.phase for one in together) > 1:
            name += f" ({'with' if line.unit == 'um' else 'without'} a pixel size)"
        depend = "hardly depend" if share <= _LITTLE else "depend"
        found.append(
            f"numbers and sizes by number of {name} rest on specks of under {SPECK_PX} px "
            f"({line.under_10_px} of {line.measured} uncut particles); look at the overlays. "
            f"Specks are {_percent(share)} % of these particles' area: area fractions {depend} "
            "on them"
        )
    return found


def _percent(share: float) -> str:
    return f"{100 * share:.0f}" if share >= 0.1 else f"{100 * share:.2g}"
