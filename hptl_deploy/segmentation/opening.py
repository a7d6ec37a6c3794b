"""The results folder of a run: made, or found to be that of an earlier run which goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hptl_deploy.errors import InputError
from hptl_deploy.model import Model
from hptl_deploy.results import OVERVIEW_FILES, RUN_FILE, read_run
from hptl_deploy.segmentation.ledger import LEDGER_FILE
from hptl_deploy.segmentation.options import SegmentOptions
from hptl_deploy.segmentation.tables import FAILURES_FILE, FIELDS_FILE


def open_results(out: Path, options: SegmentOptions) -> dict[str, Any] | None:
    """Make the results folder; the run.json of an earlier run where it is continued.

    Raises InputError when it cannot be made or holds something else.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as exc:
        raise InputError(
            f"{out}: cannot become the results folder, because a file is in its place",
            hint="Choose another --out",
        ) from exc
    except OSError as exc:
        raise InputError(
            f"{out}: the results folder cannot be made ({exc.strerror})",
            hint="Choose another --out",
        ) from exc
    recorded = read_run(out)
    own = (RUN_FILE, FIELDS_FILE, FAILURES_FILE, *OVERVIEW_FILES, LEDGER_FILE)
    taken = [name for name in own if (out / name).exists()]
    if taken == [LEDGER_FILE] and (out / LEDGER_FILE).stat().st_size == 0:
        taken = []  # killed between making the ledger and the first run.json
    if recorded is None:
        if taken:
            raise InputError(
                f"{out}: holds a {taken[0]} that this program did not write",
                hint="Choose another --out",
            )
        return None
    before, source = Path(str(recorded.get("input"))), options.input
    # A folder that was moved since may go on; two folders must not mix.
    if before.exists() and not before.samefile(source):
        raise InputError(
            f"{out}: holds the results of {before}, not of {source}",
            hint="Choose another --out",
        )
    return recorded


def recorded_memory(
    recorded: dict[str, Any] | None, model: Model, options: SegmentOptions
) -> object:
    """The memory budget that an earlier run of the same model and settings wrote down."""
    if recorded is None:
        return None
    before = recorded.get("model")
    same = (
        isinstance(before, dict)
        and before.get("sha256") == model.sha256
        and recorded.get("settings_sha256") == options.settings_sha256()
    )
    return recorded.get("memory") if same else None
