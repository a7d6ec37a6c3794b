"""`runs/<name>/report.html`: a training run for a reader, one file without a network."""

from __future__ import annotations

import base64
from typing import Any

from hptl_deploy.files import write_text
from hptl_deploy.report.writing import environment
from hptl_deploy.sink import figure
from hptl_train.record import unfound_warnings
from hptl_train.run_folder import RunFolder


def write_report(run: RunFolder, record: dict[str, Any]) -> None:
    """Write the report of `run`, whose run.json is `record`; its curves must have been drawn."""
    templates = environment("hptl_train")
    templates.filters |= {"number": figure, "percent": _percent}
    page = templates.get_template("run.html").render(
        name=run.name,
        record=record,
        phases=_phases(record),
        warnings=unfound_warnings(record),
        curves=base64.b64encode(run.curves.read_bytes()).decode("ascii"),
        recipe=run.recipe_file.read_text(encoding="utf-8"),
    )
    write_text(run.path / "report.html", page)


def _phases(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The last step's scores per phase, with the phases' names and colours."""
    scores = (record["steps"][-1]["validation"] or {}).get("phases", []) if record["steps"] else []
    by_key = {phase["key"]: phase for phase in record["data"]["phases"]}
    return [by_key[own["key"]] | own for own in scores]


def _percent(share: object) -> str:
    return f"{100 * share:.2f} %" if isinstance(share, int | float) else "-"
