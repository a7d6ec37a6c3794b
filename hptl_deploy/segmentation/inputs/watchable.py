"""What can be watched: an ordinary folder."""

from __future__ import annotations

from pathlib import Path

from hptl_deploy.datasets.description import is_data_set
from hptl_deploy.errors import InputError, UsageError
from hptl_deploy.segmentation.inputs.listing import refuse_results


def check_watchable(source: Path, split: str | None = None) -> None:
    """Raise UsageError or InputError for what cannot be watched: all but an ordinary folder."""
    try:
        is_file, is_folder, data_set = source.is_file(), source.is_dir(), is_data_set(source)
    except OSError as exc:
        raise unreadable(source, f"the folder cannot be read ({exc.strerror or exc})") from exc
    if is_file:
        raise UsageError(
            f"--watch {source}: is a file, and only a folder can be watched",
            hint="Leave --watch out, or name the folder that the microscope fills",
        )
    if not is_folder:
        raise InputError(
            f"{source}: does not exist, and only a folder can be watched",
            hint="Make the folder first, or name the one that the microscope fills",
        )
    refuse_results(source)
    if data_set or split is not None:
        found = "is a data set" if split is None else f"--split {split} means a data set"
        raise UsageError(
            f"--watch {source}: {found}, whose images are listed once and for all",
            hint="Leave --watch out, or name a folder that is being filled",
        )


def unreadable(source: Path, reason: str) -> InputError:
    """The error of a folder that cannot be read at the start; later, a watch goes on."""
    return InputError(
        f"{source}: {reason}, and only one that can be read can be watched",
        hint="Get the right to read it, or name another folder",
    )
