from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from hptl_deploy.errors import InputError, UsageError
from hptl_deploy.results import TOOL
from hptl_deploy.segmentation.inputs.listing import list_inputs

links = pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def relatives(source: Path, out: Path | None = None) -> list[str]:
    listing = list_inputs(source, out or source.with_name("out"))
    return [listed.relative for listed in listing.files]


def test_micrographs_are_found_at_any_depth_in_order(tmp_path: Path) -> None:
    names = ["b.TIF", "a/z.png", "a/b/c.jpg", "a.bmp", "z.tiff", "µm größe 日本.tif"]
    touch(*(tmp_path / name for name in names))
    assert relatives(tmp_path) == ["a/b/c.jpg", "a/z.png", *sorted(names[3:] + names[:1])]


def test_other_files_are_counted_and_hidden_ones_are_not(tmp_path: Path) -> None:
    touch(tmp_path / "a.tif", tmp_path / "notes.txt", tmp_path / "x" / "table.xlsx")
    touch(tmp_path / ".a.tif", tmp_path / ".git" / "b.tif", tmp_path / "Thumbs.db")
    listing = list_inputs(tmp_path, tmp_path / "out")
    assert listing.names == ["a.tif"]
    assert listing.ignored == 3


def test_results_are_no_input(tmp_path: Path) -> None:
    touch(tmp_path / "a.tif", tmp_path / "out" / "a_classes.tif")
    touch(tmp_path / "old" / "a_classes.tif", tmp_path / "other" / "a.tif")
    (tmp_path / "old" / "run.json").write_text(json.dumps({"tool": TOOL}))
    (tmp_path / "other" / "run.json").write_text(json.dumps({"tool": "something else"}))
    assert relatives(tmp_path, tmp_path / "out") == ["a.tif", "other/a.tif"]
    with pytest.raises(InputError) as caught:
        list_inputs(tmp_path / "old", tmp_path / "out")
    assert str(caught.value) == (
        f"{tmp_path / 'old'}: is a results folder of hptl-deploy (it holds its run.json). "
        "Name the folder of the micrographs instead"
    )


def test_a_folder_without_micrographs(tmp_path: Path) -> None:
    touch(tmp_path / "notes.txt")
    with pytest.raises(InputError) as caught:
        list_inputs(tmp_path, tmp_path / "out")
    assert "no micrograph found in it or its sub-folders (looked for .bmp" in str(caught.value)
    assert str(caught.value).endswith("; 1 other files)")


def test_what_cannot_be_an_input(tmp_path: Path) -> None:
    touch(tmp_path / "a.txt", tmp_path / "a.oir")
    with pytest.raises(InputError, match=r"gone: does not exist\. Name a folder or"):
        list_inputs(tmp_path / "gone", tmp_path / "out")
    with pytest.raises(InputError, match="its extension is none of a micrograph's"):
        list_inputs(tmp_path / "a.txt", tmp_path / "out")
    with pytest.raises(InputError, match="Olympus OIR"):
        list_inputs(tmp_path / "a.oir", tmp_path / "out")
    with pytest.raises(
        UsageError, match=r"--split val: .* is no data set \(neither dataset\.toml nor"
    ):
        list_inputs(tmp_path, tmp_path / "out", "val")


def test_vendor_formats_are_failures_that_keep_their_names(tmp_path: Path) -> None:
    touch(tmp_path / "a.tif", tmp_path / "a.OIR", tmp_path / "b.CZI")
    listing = list_inputs(tmp_path, tmp_path / "out")
    assert [(failure.file, failure.stage) for failure in listing.failures] == [("a.OIR", "list")]
    assert "cellSens" in listing.failures[0].reason
    assert listing.names == ["a.OIR", "a.tif", "b.CZI"]


@links
def test_links_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    top, elsewhere = tmp_path / "top", tmp_path / "elsewhere"
    touch(top / "real" / "a.tif", elsewhere / "b.tif")
    (top / "real" / "up").symlink_to(top)
    (top / "aaa").symlink_to(top / "real")
    (top / "more").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(top)
    (top / "c.tif").symlink_to(elsewhere / "b.tif")
    assert relatives(top, tmp_path / "out") == ["c.tif", "more/b.tif", "real/a.tif"]


@links
def test_broken_links_and_pipes_are_failures(tmp_path: Path) -> None:
    touch(tmp_path / "a.tif")
    (tmp_path / "gone.tif").symlink_to(tmp_path / "nowhere.tif")
    (tmp_path / "self.tif").symlink_to(tmp_path / "self.tif")
    os.mkfifo(tmp_path / "pipe.tif")
    failures = {f.file: f.reason for f in list_inputs(tmp_path, tmp_path / "out").failures}
    assert failures["gone.tif"] == "a link that leads nowhere"
    assert failures["pipe.tif"] == "is no ordinary file"
    assert failures["self.tif"] == "cannot be looked at (Too many levels of symbolic links)"


@links
def test_links_in_a_circle_are_failures_and_end(tmp_path: Path) -> None:
    touch(tmp_path / "a.tif")
    (tmp_path / "b.tif").symlink_to(tmp_path / "c.tif")
    (tmp_path / "c.tif").symlink_to(tmp_path / "b.tif")
    (tmp_path / "folder").symlink_to(tmp_path / "folder")
    listing = list_inputs(tmp_path, tmp_path / "out")
    assert listing.names == ["a.tif"]
    reason = "cannot be looked at (Too many levels of symbolic links)"
    assert [(failure.file, failure.reason) for failure in listing.failures] == [
        ("b.tif", reason), ("c.tif", reason), ("folder", reason),
    ]  # fmt: skip


def test_a_folder_that_cannot_be_read_is_one_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "a.tif", tmp_path / "locked" / "b.tif")
    scan = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    listing = list_inputs(tmp_path, tmp_path / "out")
    assert listing.names == ["a.tif"]
    assert [vars(failure) for failure in listing.failures] == [
        {
            "file": "locked",
            "stage": "list",
            "reason": "the folder cannot be read (Permission denied)",
        }
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_no_text_is_shown_as_an_escape(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/a\xff.tif", "wb") as handle:  # noqa: PTH123
        handle.write(b"x")
    assert relatives(tmp_path, tmp_path / "out") == ["a\\udcff.tif"]


def test_labels_of_data_sets_in_sub_folders_are_no_micrographs(tmp_path: Path) -> None:
    source = tmp_path / "in"
    touch(source / "one" / "images" / "a.tif", source / "one" / "labels" / "a.png")
    touch(source / "two" / "shots" / "b.tif", source / "two" / "truth" / "b.png")
    (source / "two" / "dataset.toml").write_text('images = "shots"\nlabels = "truth"\n')
    touch(source / "deep" / "shots" / "e.tif", source / "deep" / "by" / "hand" / "e.png")
    (source / "deep" / "dataset.toml").write_text('images = "shots"\nlabels = "./by/hand/"\n')
    touch(source / "broken" / "labels" / "c.png", source / "broken" / "c.tif")
    (source / "broken" / "dataset.toml").write_text("images = ")
    touch(source / "three" / "labels" / "d.png")  # a folder of that name, and no data set
    listing = list_inputs(source, tmp_path / "out")
    assert listing.names == [
        "broken/c.tif", "deep/shots/e.tif", "one/images/a.tif", "three/labels/d.png",
        "two/shots/b.tif",
    ]  # fmt: skip
    assert sorted(listing.notes) == [
        f"{source / folder} is a data set: its labels, {labels}, are not segmented"
        for folder, labels in (
            ("broken", "labels"),
            ("deep", "by/hand"),
            ("one", "labels"),
            ("two", "truth"),
        )
    ]
