from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from hptl_deploy.files import (
    TEMPORARY_SUFFIX,
    atomic_path,
    remove,
    remove_leftovers,
    sha256_file,
    sha256_json,
    size_of,
    write_bytes,
    write_json,
    write_text,
)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "a.txt"
    write_text(path, "old")
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent
    assert path.read_text() == "new"
    assert names(path.parent) == ["a.txt"]


def test_folders_are_made_below_a_root_that_is_there(tmp_path: Path) -> None:
    root = tmp_path / "out"
    root.mkdir()
    with atomic_path(root / "a" / "b" / "file", root) as temporary:
        temporary.write_text("whole")
    assert (root / "a" / "b" / "file").read_text() == "whole"
    for name in ("file", "a/file"):
        with (
            pytest.raises(FileNotFoundError),
            atomic_path(tmp_path / "gone" / name, tmp_path / "gone"),
        ):
            pass
    assert not (tmp_path / "gone").exists()


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    name = "n" * 251 + ".txt"  # 255 bytes: no room to add to it
    write_bytes(tmp_path / name, b"x")
    assert names(tmp_path) == [name]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "µm 日本.tif"
    script = (
        "import os, sys; from pathlib import Path; from hptl_deploy.files import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); os._exit(9)"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(target)], check=False)
    assert ended.returncode == 9
    (left,) = target.parent.iterdir()
    assert left.name.endswith(TEMPORARY_SUFFIX)
    other = target.parent / "keep.txt"
    other.write_text("mine")
    assert remove_leftovers(tmp_path) == 1
    assert list(target.parent.iterdir()) == [other]
    assert remove_leftovers(tmp_path) == 0
    assert remove_leftovers(tmp_path / "gone") == 0


def test_text_is_utf8_with_line_feeds_on_every_system(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "µ\n日\n")
    assert (tmp_path / "a").read_bytes() == b"\xc2\xb5\n\xe6\x97\xa5\n"
    write_json(tmp_path / "b", {"größe": [1, None]})
    content = (tmp_path / "b").read_bytes()
    assert "größe".encode() in content
    assert content.endswith(b"}\n")
    assert json.loads(content) == {"größe": [1, None]}


@pytest.mark.parametrize("size", [0, 1, 2**20, 2**20 + 1, 3 * 2**20])
def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path: Path, size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    (tmp_path / "a").write_bytes(content[:size])
    assert sha256_file(tmp_path / "a") == hashlib.sha256(content[:size]).hexdigest()


def test_the_hash_of_a_document_is_that_of_its_content() -> None:
    one = sha256_json({"a": [1, 2], "b": "µ"})
    assert one == sha256_json(json.loads('{ "b":"\\u00b5",\n"a": [1,2] }'))
    assert one != sha256_json({"a": [2, 1], "b": "µ"})
    assert one == hashlib.sha256('{"a":[1,2],"b":"µ"}'.encode()).hexdigest()


def folder_of(path: Path, **contents: str) -> None:
    for name, content in contents.items():
        (path / "deep").mkdir(parents=True, exist_ok=True)
        (path / "deep" / name).write_text(content)


def test_a_folder_is_replaced_as_a_file_is(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "a.zarr"
    with atomic_path(path) as temporary:
        folder_of(temporary, a="old", b="12345")
        assert not path.exists()
    assert size_of(path) == 8
    with atomic_path(path) as temporary:
        folder_of(temporary, a="new")
        assert (path / "deep" / "a").read_text() == "old"
    assert names(path.parent) == ["a.zarr"]
    assert names(path / "deep") == ["a"]
    assert (path / "deep" / "a").read_text() == "new"


def test_an_error_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    folder_of(path, a="old")
    with pytest.raises(KeyError), atomic_path(path) as temporary:
        folder_of(temporary, a="half")
        raise KeyError
    assert names(tmp_path) == ["a.zarr"]
    assert (path / "deep" / "a").read_text() == "old"


def test_a_file_does_not_replace_a_folder(tmp_path: Path) -> None:
    folder_of(tmp_path / "a", a="kept")
    with pytest.raises(OSError), atomic_path(tmp_path / "a") as temporary:
        temporary.write_text("x")
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a" / "deep" / "a").read_text() == "kept"


def test_half_written_folders_are_removed(tmp_path: Path) -> None:
    folder_of(tmp_path / "out" / f".0123-1{TEMPORARY_SUFFIX}", a="half")
    folder_of(tmp_path / "out" / f".0123-1-old{TEMPORARY_SUFFIX}", a="old")
    assert remove_leftovers(tmp_path / "out") == 2
    assert names(tmp_path / "out") == []


def test_sizes_and_removing(tmp_path: Path) -> None:
    folder_of(tmp_path / "a", a="12", b="345")
    (tmp_path / "b").write_text("6789")
    assert size_of(tmp_path / "a") == 5
    assert size_of(tmp_path / "b") == 4
    with pytest.raises(FileNotFoundError):
        size_of(tmp_path / "c")
    for name in "abc":
        remove(tmp_path / name)
    assert names(tmp_path) == []
