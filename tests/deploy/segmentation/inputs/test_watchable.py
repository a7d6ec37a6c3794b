from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hptl_deploy.errors import InputError, UsageError
from hptl_deploy.results import TOOL
from hptl_deploy.segmentation.inputs.watchable import check_watchable
from support.watching import write


@pytest.mark.parametrize(
    ("make", "split", "error", "text"),
    [
        (lambda path: path.write_bytes(b"x"), None, UsageError, "is a file, and only a folder"),
        (lambda path: None, None, InputError, "does not exist, and only a folder can be watched"),
        (lambda path: write(path / "dataset.toml"), None, UsageError, "is a data set, whose"),
        (lambda path: path.mkdir(), "val", UsageError, "--split val means a data set, whose"),
        (
            lambda path: write(path / "run.json", json.dumps({"tool": TOOL}).encode()),
            None,
            InputError,
            "is a results folder",
        ),
    ],
)
def test_what_cannot_be_watched(
    tmp_path: Path,
    make: Callable[[Path], object],
    split: str | None,
    error: type[Exception],
    text: str,
) -> None:
    make(tmp_path / "a.tif")
    with pytest.raises(error, match=text):
        check_watchable(tmp_path / "a.tif", split)


def test_a_folder_that_may_not_be_entered_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("hptl_deploy.segmentation.inputs.watchable.is_data_set", refuse)
    with pytest.raises(InputError) as caught:
        check_watchable(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: the folder cannot be read (Permission denied), and only one that can be "
        "read can be watched. Get the right to read it, or name another folder"
    )
