"""`report.html`: rendered from a template, written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hptl_deploy.errors import HptlError, ResultsError
from hptl_deploy.files import write_text
from hptl_deploy.results import REPORT_FILE

if TYPE_CHECKING:
    from jinja2 import Environment

    from hptl_deploy.report.reading import Results
    from hptl_deploy.sink import Sink
    from hptl_deploy.statistics.findings import Findings


def write_report(folder: Path, findings: Findings | None = None) -> Path:
    """Write the report of the results in `folder`, beside them; returns its path.

    `findings` are what the fields say together, worked out where they are not given. Raises
    ResultsError where there are no results, or the file cannot be written.
    """
    from hptl_deploy.report.reading import read_results

    page = render(read_results(folder, findings))
    path = folder / REPORT_FILE
    try:
        write_text(path, page)
    except OSError as exc:
        raise ResultsError(
            f"{path}: cannot be written ({exc.strerror or exc})",
            hint=f"Close programs that hold it open, or make room; then: hptl-deploy report "
            f"{folder}",
        ) from exc
    return path


def report_after_run(folder: Path, sink: Sink, findings: Findings) -> Path | None:
    """As `write_report`, but nothing that goes wrong ends a run whose results are fine.

    It is told in one sentence instead, and the answer is None.
    """
    from hptl_deploy.segmentation.items import reason

    try:
        return write_report(folder, findings)
    except HptlError as exc:
        sink.note(f"without a report: {exc}")
    except Exception as exc:
        unexpected(exc)
        sink.note(
            f"without a report, by a fault of the program ({reason(exc)}); the results are whole. "
            f"hptl-deploy report {folder} says more, please report it"
        )
    return None


def unexpected(error: Exception) -> None:
    """What no sentence was written for; the tests raise it."""


def render(results: Results) -> str:
    """The page."""
    from jinja2 import StrictUndefined

    from hptl_deploy import __version__
    from hptl_deploy.report import words
    from hptl_deploy.report.charts import swatch
    from hptl_deploy.report.content import content

    templates = environment("hptl_deploy.report", undefined=StrictUndefined)
    templates.filters |= {
        "number": words.number,
        "significant": words.significant,
        "percent": words.percent,
        "points": words.points,
        "plain": words.plain,
        "date": words.date,
        "seconds": words.seconds,
    }
    templates.globals |= {"swatch": swatch, "percent": words.percent, "version": __version__}
    return templates.get_template("report.html").render(content(results))


def environment(package: str, **options: Any) -> Environment:  # noqa: ANN401
    """The templates of `package`; words of others are escaped, and cannot turn or break a line."""
    from jinja2 import Environment, PackageLoader

    from hptl_deploy.report.words import shown

    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown,
        **options,
    )
