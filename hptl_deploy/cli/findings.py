"""Statistics over fields on the screen, after `segment` and `merge`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hptl_deploy.cli.output import Output
from hptl_deploy.statistics.validation import Validation
from hptl_deploy.wording import counted

if TYPE_CHECKING:
    from hptl_deploy.statistics.findings import Findings
    from hptl_deploy.statistics.lines import Line
    from hptl_deploy.statistics.sizes import ParticleLine

_MOST_GROUPS = 12
"""That are shown; statistics.csv has all."""


def show_findings(findings: Findings, sink: Output) -> None:
    """Area fractions with their intervals, groups where there are several, particles, notes."""
    if sink.as_json:
        return
    together = findings.area_fractions()
    if together:
        _show_fractions(together, sink)
        _show_groups(findings, sink)
        _show_particles(findings, sink)
    elif findings.notes:
        sink.say("no field has an area fraction")
    for note in findings.notes:
        sink.say(f"  {note}")


def _show_fractions(together: Sequence[Line], sink: Output) -> None:
    count = together[0].estimate.n
    sink.table(
        f"area fraction in %, {counted(count, 'field')}",
        [
            "phase", "mean", "s", "95 % CI +-", "%RA", "fields for 10 %RA",
            "model's IoU", "its bias", "one field +-",
        ],
        [_row(line) for line in together],
    )  # fmt: skip
    if count == 1:
        sink.say("  one field gives no interval; two or more do")
    if any(line.validation != Validation() for line in together):
        sink.say(
            "  the model's errors, from validation, in % points: its bias over all micrographs, "
            "and how far one was off on the mean" + ("" if count == 1 else "; not in the interval")
        )
    else:
        sink.say("  the model's card states no errors; evaluate on labelled micrographs tells them")


def _row(line: Line) -> list[str]:
    found, checked = line.estimate, line.validation
    needed = "-" if found.needed is None else f"{found.needed} ({found.more_needed} more)"
    return [
        line.phase.name,
        _percent(found.mean),
        _percent(found.s),
        _percent(found.ci95),
        "-" if found.ra_percent is None else f"{found.ra_percent:.1f}",
        needed,
        _stated(checked.iou, ".3f"),
        _stated(checked.area_fraction_error, "+.3f", 100),
        _stated(checked.mean_absolute_area_error, ".3f", 100),
    ]


def _stated(score: float | None, digits: str, times: float = 1) -> str:
    return "not stated" if score is None else f"{times * score:{digits}}"


def _show_groups(findings: Findings, sink: Output) -> None:
    """Mean and interval of each group's phases, in a line each."""
    groups = findings.groups()
    if not groups:
        return
    rows, names = [], []
    for group in groups[:_MOST_GROUPS]:
        those = findings.area_fractions(group)
        names = [line.phase.name for line in those]
        rows.append([group, str(those[0].estimate.n), *map(_short, those)])
    sink.table("by folder", ["folder", "fields", *names], rows)
    if len(groups) > _MOST_GROUPS:
        sink.say(f"  and {len(groups) - _MOST_GROUPS} more folders in statistics.csv")


def _show_particles(findings: Findings, sink: Output) -> None:
    """Sizes and needles of all pages; those of groups are in particle_statistics.csv."""
    names = {line.phase.key: line.phase.name for line in findings.lines}
    rows = [_particle_row(names, line) for line in findings.particles_of_all()]
    if rows:
        header = [
            "phase", "particles", "touching border", "others under 10 px", "D10", "D50", "D90",
            "unit", "needle-shaped %", "of particles",
        ]  # fmt: skip
        sink.table("particles and their equivalent diameters, by number", header, rows)


def _particle_row(names: Mapping[str, str], line: ParticleLine) -> list[str]:
    share = line.needle_shaped_by_number
    sizes = (line.d10_by_number, line.d50_by_number, line.d90_by_number)
    return [
        names.get(line.phase, line.phase),
        str(line.particles),
        str(line.touching_border),
        str(line.under_10_px),
        *("-" if diameter is None else f"{diameter:.3g}" for diameter in sizes),
        line.unit,
        "-" if share is None else f"{100 * share:.1f}",
        str(line.with_shape),
    ]


def _short(line: Line) -> str:
    found = line.estimate
    return _percent(found.mean) + ("" if found.ci95 is None else f" +- {_percent(found.ci95)}")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.3f}"
