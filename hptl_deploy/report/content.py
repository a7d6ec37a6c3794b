"""What stands in the report, section by section, from the results; the template only sets it.

A section is None, or empty, where the results do not hold what it is about.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from hptl_deploy import __version__
from hptl_deploy.report.banners import banners
from hptl_deploy.report.checks import calibration, flags, left_out, mosaic_flags, unjudged
from hptl_deploy.report.figures import (
    GROUPS_SHOWN,
    groups,
    headline,
    particle_tables,
    phase_document,
    spread,
    unsure,
)
from hptl_deploy.report.model import model_section
from hptl_deploy.report.pictures import pictures
from hptl_deploy.report.reading import Results
from hptl_deploy.report.words import percent
from hptl_deploy.segmentation.command_line import command
from hptl_deploy.statistics.lines import Line
from hptl_deploy.wording import counted

ROWS_SHOWN, FAILURES_SHOWN = 300, 100
"""Of the tables of fields and of failures; fields.csv and failures.csv have all."""


def content(results: Results) -> dict[str, Any]:
    """Everything the template asks for."""
    run, rows, phases = results.run, results.rows, results.phases
    findings = results.findings
    return {
        "name": PurePath(str(run.get("input", ""))).name or str(results.folder),
        "phases": [phase_document(phase) for phase in phases],
        "fields": len(rows),
        "files": len({row["file"] for row in rows}),
        "banners": banners(results),
        "headline": headline(findings),
        "unsure": unsure(findings),
        "groups": groups(findings)[:GROUPS_SHOWN],
        "more_groups": max(0, len(groups(findings)) - GROUPS_SHOWN),
        "notes": findings.notes,
        "spread": spread(results),
        "particle_tables": particle_tables(findings, phases),
        "particles_noted": any("particles_file" in row for row in rows),
        "particles_measured": any(row.get("particles_file") for row in rows),
        "particles_why": sorted(
            {str(row["particles_note"]) for row in rows if row.get("particles_note")}
        ),
        "calibration": calibration(rows),
        "flags": flags(rows),
        "mosaic_flags": mosaic_flags(rows),
        "unjudged": unjudged(rows),
        "left_out": left_out(rows),
        "model": model_section(results),
        "pictures": pictures(results.folder, rows, results.outputs),
        "failures": results.failures[:FAILURES_SHOWN],
        "failed": len(results.failures),
        "rows": rows[:ROWS_SHOWN],
        "made": made(results),
        "citation": citation(results),
    }


def made(results: Results) -> dict[str, Any]:
    """Settings, versions, times, and the command that does it again."""
    throughput = results.table("throughput")
    return {
        "input": results.run.get("input"),
        "started": results.run.get("started"),
        "ended": results.run.get("ended"),
        "command": _command(results),
        "settings": results.table("settings"),
        "backend": results.table("engine").get("backend"),
        "device": results.table("engine").get("device"),
        "versions": results.table("versions"),
        "skipped": results.table("counts").get("skipped"),
        "seconds": throughput.get("seconds"),
        "megapixels": throughput.get("megapixels"),
        "shards": results.table("shards").get("count"),
    }


def _command(results: Results) -> str | None:
    try:
        return command(results.run, None, results.folder)
    except (KeyError, TypeError):  # results of another version, with other settings
        return None


def citation(results: Results) -> str:
    """A sentence with the figures, for whoever quotes them."""
    of = results.table("model")
    figures = [_cited(line) for line in results.findings.area_fractions()[1:]]
    return (
        f"Area fractions: {'; '.join(figures)}; segmented by the model {of.get('name')} (SHA-256 "
        f"{str(of.get('sha256'))[:12]}) with hptl-deploy {__version__}."
    )


def _cited(line: Line) -> str:
    found = line.estimate
    fields = counted(found.n, "field")
    if found.ci95 is None:
        return f"{line.phase.name} {percent(found.mean)} % ({fields}, no interval)"
    return (
        f"{line.phase.name} ({percent(found.mean)} ± {percent(found.ci95)}) % (mean and 95 % "
        f"confidence interval over {fields})"
    )
