"""A results folder that fails: one clear line, no hang, nothing torn, finished work kept."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tifffile

from hptl_deploy.cli.main import run
from hptl_deploy.engines import Engine
from hptl_deploy.errors import ResultsError
from hptl_deploy.files import TEMPORARY_SUFFIX
from hptl_deploy.segmentation import SegmentOptions, segment
from hptl_deploy.segmentation.ledger import LEDGER_FILE
from support.drawings import blobs, folder_of, save
from support.patience import within
from support.processes import lines, start, wait_until
from support.sinks import Recorder
from support.threshold_model import write_threshold_model

COUNT = 24
FULL = (
    "hptl-deploy: {out}: cannot be written (No space left on device), so the run stops. What is "
    "done stays done; start it again when the folder can be written"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_threshold_model(tmp_path_factory.mktemp("models"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "in", COUNT, size=(200, 300))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """`small_disk("64k")`: a folder on a file system of that size, or of another one later."""
    folder, options = tmp_path / "disk", ["-t", "tmpfs", "tmpfs"]
    folder.mkdir()
    mounted = False

    def mount(size: str) -> Path:
        nonlocal mounted
        how = f"size={size}" + (",remount" if mounted else "")
        command = ["mount", "-o", how, *options, str(folder)]
        if sys.platform != "linux" or shutil.which("mount") is None:
            pytest.skip("mounts a tiny file system, which is Linux's way")
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        if done.returncode:
            pytest.skip(f"root may mount a tiny file system, this user may not: {done.stderr}")
        mounted = True
        return folder

    yield mount
    if mounted:
        subprocess.run(["umount", str(folder)], check=True, timeout=30)


def command(source: Path, model: Path, out: Path) -> int:
    """The exit code of a whole command."""
    arguments = ["segment", str(source), "--model", str(model), "--out", str(out)]
    return within(60, lambda: run(arguments))


def check_whole(out: Path) -> int:
    """Everything that can be seen is whole; the number of class maps."""
    assert not list(out.rglob(f"*{TEMPORARY_SUFFIX}"))
    json.loads((out / "run.json").read_text(encoding="utf-8"))
    for line in (out / LEDGER_FILE).read_text(encoding="utf-8").splitlines():
        for name, size in json.loads(line)["outputs"].items():
            assert (out / name).stat().st_size == size
    maps = list(out.glob("*_classes.tif"))
    for path in maps:
        assert tifffile.imread(path).shape == (200, 300)
    return len(maps)


@pytest.mark.parametrize("size", ["16k", "64k", "200k", "400k"])
def test_the_disk_is_full_and_then_is_not(
    source: Path, model: Path, small_disk: Callable[[str], Path], size: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = small_disk(size)
    code = command(source, model, out)
    noted = capsys.readouterr().err.splitlines()
    assert code == 2
    assert noted[-1] == FULL.format(out=out)
    assert not [line for line in noted if "m0" in line]  # and not one line for each
    done = lines(out / LEDGER_FILE)
    assert check_whole(out) >= done
    small_disk("8m")
    code = command(source, model, out)
    said = capsys.readouterr().out
    assert code == 0
    expected = f"{COUNT - done} done" + (f", {done} skipped" if done else "")
    assert f"micrographs: {expected}" in said
    assert check_whole(out) == COUNT


def test_a_disk_that_is_full_from_the_start(
    source: Path, model: Path, small_disk: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = small_disk("16k")
    (out / "filler").write_bytes(bytes(3 * 4096))
    code = command(source, model, out)
    assert code == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"hptl-deploy: {out}: fields.csv, failures.csv or run.json cannot be written (No space "
        "left on device). Make room, or close programs that hold them open, and run again; class "
        "maps are kept"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps a folder with open files")
def test_the_folder_vanishes_in_the_middle(tmp_path: Path, source: Path, model: Path) -> None:
    out = tmp_path / "out"
    process = start("segment", source, "--model", model, "--out", out, "--json")
    wait_until(lambda: lines(out / LEDGER_FILE) >= 1, process)
    out.rename(tmp_path / "elsewhere")
    printed, told = process.communicate(timeout=60)
    assert process.returncode == 2, told
    sentence = f"{out}: has been deleted, so the run stops. Start it again"
    assert told.splitlines()[-1] == f"hptl-deploy: {sentence}"
    assert json.loads(printed) == {"error": sentence, "exit_code": 2}
    assert not out.exists()  # no new one that would speak of results


def test_the_folder_may_not_be_written_any_more(ordinary_user: Path, engine: Engine) -> None:
    source, out = folder_of(ordinary_user / "in", COUNT, size=(40, 48)), ordinary_user / "out"
    sink = Recorder(lambda name: out.chmod(0o500))
    try:
        with pytest.raises(ResultsError) as caught:
            within(60, lambda: segment(SegmentOptions(source, out), engine, sink))
    finally:
        out.chmod(0o700)
    assert str(caught.value) == (
        f"{out}: cannot be written (Permission denied), so the run stops. What is done stays "
        "done; start it again when the folder can be written"
    )
    assert caught.value.exit_code == 2
    done = lines(out / LEDGER_FILE)
    assert 0 < done < COUNT
    summary = within(60, lambda: segment(SegmentOptions(source, out), engine, Recorder()))
    assert (summary.counts["skipped"], summary.counts["done"]) == (done, COUNT - done)


def test_a_folder_that_may_not_be_written(ordinary_user: Path, engine: Engine) -> None:
    source = folder_of(ordinary_user / "in", 2, size=(40, 48))
    for out, sentence in [
        (ordinary_user / "out", f"{ordinary_user}/out/{LEDGER_FILE}: cannot be opened (Permission "
         "denied)"),
        (ordinary_user / "out" / "sub", f"{ordinary_user}/out/sub: the results folder cannot be "
         "made (Permission denied). Choose another --out"),
    ]:  # fmt: skip
        (ordinary_user / "out").mkdir(mode=0o500, exist_ok=True)
        with pytest.raises(Exception) as caught:
            within(60, lambda out=out: segment(SegmentOptions(source, out), engine, Recorder()))  # type: ignore[misc]
        assert str(caught.value) == sentence


def test_one_sub_folder_that_may_not_be_written(ordinary_user: Path, engine: Engine) -> None:
    """That is the failure of its files, and the others are done."""
    source, out = folder_of(ordinary_user / "in", 3, size=(40, 48)), ordinary_user / "out"
    save(source / "sub" / "s.png", blobs(40, 48, seed=9))
    (out / "sub").mkdir(parents=True, mode=0o500)
    (out / "sub").chmod(0o500)
    summary = within(60, lambda: segment(SegmentOptions(source, out), engine, Recorder()))
    (out / "sub").chmod(0o700)
    assert [vars(failure) for failure in summary.failures] == [
        {"file": "sub/s.png", "stage": "write", "reason": f"{out}: Permission denied"}
    ]
    assert (summary.counts["done"], summary.exit_code) == (3, 1)
