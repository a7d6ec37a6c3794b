"""The figures of the report, as `hptl_deploy.statistics` states them, and their charts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hptl_deploy.phases import Phase
from hptl_deploy.report.charts import Share, bars, bins, css, dots, shares
from hptl_deploy.report.reading import Results
from hptl_deploy.statistics.findings import Findings
from hptl_deploy.statistics.intervals import Estimate
from hptl_deploy.statistics.samples import ALL, fraction, samples_of

FEWEST_FOR_BARS = 12
"""Fields; below, each is drawn as a dot."""
GROUPS_SHOWN = 40
"""In the table of sub-folders; statistics.csv has all."""


def phase_document(phase: Phase) -> dict[str, Any]:
    """A phase as the template takes it."""
    return {"key": phase.key, "name": phase.name, "css": css(phase.colour)}


def headline(findings: Findings) -> list[dict[str, Any]]:
    """The phases with their area fraction over all fields: `estimate` and what they are."""
    return [
        {**phase_document(line.phase), "estimate": line.estimate}
        for line in findings.area_fractions()
    ]


def unsure(findings: Findings, group: str = ALL) -> list[str]:
    """Phases of `group` whose interval reaches below 0; those not found at all have none."""
    return [
        line.phase.name
        for line in findings.area_fractions(group)
        if line.estimate.ci95 is not None and line.estimate.ci95 > line.estimate.mean
    ]


def groups(findings: Findings) -> list[dict[str, Any]]:
    """Every sub-folder with its area fractions, where there are several."""
    found = []
    for group in findings.groups():
        lines = findings.area_fractions(group)
        found.append(
            {
                "name": group,
                "fields": max(line.estimate.n for line in lines),
                "unsure": unsure(findings, group),
                "estimates": {line.phase.key: line.estimate for line in lines},
            }
        )
    return found


def spread(results: Results) -> list[dict[str, Any]]:
    """Of each phase but the matrix, how its area fraction differs from field to field."""
    samples = samples_of(results.rows, results.phases).samples
    if len(samples) < 2:
        return []
    few = len(samples) < FEWEST_FOR_BARS
    found = []
    for line in results.findings.area_fractions()[1:]:
        phase, estimate = line.phase, line.estimate
        values = [100 * sample.values[fraction(phase)] for sample in samples]
        title = f"{phase.name}: area fraction of {len(values)} fields"
        mean, half = 100 * estimate.mean, 100 * (estimate.ci95 or 0)
        if few:
            chart = dots(values, phase.colour, "area fraction, %", title, mean, half)
        else:
            chart = bars(*bins(values), phase.colour, "area fraction, %", "fields", title)
        found.append({**phase_document(phase), "chart": chart, "few": few, "n": len(values)})
    return found


def particle_tables(findings: Findings, phases: Sequence[Phase]) -> list[dict[str, Any]]:
    """The lines of particle_statistics.csv over all fields, a table for each unit.

    Each line with the chart of its sizes and, where lengths are known, number per area and mean
    free path.
    """
    by_key = {phase.key: phase for phase in phases}
    found: dict[str, list[dict[str, Any]]] = {}
    for line in findings.particles_of_all():
        if line.phase in by_key:
            phase = by_key[line.phase]
            found.setdefault(line.unit, []).append(
                {
                    **phase_document(phase),
                    **_densities(findings, phase),
                    "line": line,
                    "chart": _sizes(findings, phase, line.unit),
                }
            )
    return [
        {
            "unit": _shown(unit),
            "lines": lines,
            "with_density": unit == "um" and any(one["number_per_mm2"] for one in lines),
        }
        for unit, lines in found.items()
    ]


def _densities(findings: Findings, phase: Phase) -> dict[str, Estimate | None]:
    """Number per area and mean free path over all fields; None where they are not known."""
    known = {
        line.quantity: line.estimate
        for line in findings.lines
        if line.group == ALL and line.phase.key == phase.key
    }
    return {name: known.get(name) for name in ("number_per_mm2", "mean_free_path")}


def _shown(unit: str) -> str:
    return "µm" if unit == "um" else unit


def _sizes(findings: Findings, phase: Phase, unit: str) -> str | None:
    classes = [
        Share(one.lower, one.upper, one.number_share, one.area_share)
        for one in findings.classes
        if (one.group, one.phase, one.unit) == (ALL, phase.key, unit)
    ]
    if not classes:
        return None
    return shares(classes, phase.colour, f"equivalent diameter, {_shown(unit)}", phase.name)
