from __future__ import annotations

import os
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hptl_deploy.engines import Engine
from hptl_deploy.errors import HptlError, InputError, ResultsError, UsageError
from hptl_deploy.files import TEMPORARY_SUFFIX
from hptl_deploy.segmentation import RunSummary, SegmentOptions, segment
from hptl_deploy.segmentation.inputs.listing import Failure, Listed, Listing, list_inputs
from hptl_deploy.segmentation.ledger import LEDGER_FILE, Ledger
from hptl_deploy.segmentation.shards.sharding import Shard, parse_shard, share
from support.drawings import blobs, folder_of, save
from support.sinks import Recorder

NAMES = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), unique=True)


def shard(source: Path, engine: Engine, text: str, out: Path | None = None) -> RunSummary:
    return segment(SegmentOptions(source, out, shard=parse_shard(text)), engine)


def owned_by(text: str, suffix: str = ".png") -> str:
    """A name that falls to a shard."""
    wanted = parse_shard(text)
    names = (f"n{number}{suffix}" for number in range(1000))
    return next(name for name in names if wanted.takes(name))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0/4", "shards are counted from 1, so expected one of 1/4 to 4/4"),
        ("5/4", "shards are counted from 1, so expected one of 1/4 to 4/4"),
        ("1/0", "expected at least one shard, such as 1/1"),
        *(
            (text, "expected the shard's number and how many there are, such as 3/8")
            for text in ("a/b", "3", "3/", "-1/4", "1/2/3", "1.0/2", "٣/٨", "1/9999999", "")
        ),
    ],
)
def test_what_is_no_shard(text: str, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_shard(text)
    assert str(caught.value) == f"--shard {text}: {why}"


def test_a_shard_reads_as_it_is_written() -> None:
    assert parse_shard(" 3/8 ") == Shard(3, 8)
    assert str(parse_shard("03/8")) == "3/8"


@given(names=NAMES, count=st.integers(1, 9))
def test_shards_are_disjoint_and_complete(names: list[str], count: int) -> None:
    shards = [Shard(number, count) for number in range(1, count + 1)]
    listing = Listing(
        files=[Listed(Path(name), name) for name in names[::2]],
        names=names[::2],
        failures=[Failure(name, "list", "?") for name in names[1::2]],
    )
    backwards = Listing(listing.files[::-1], listing.names[::-1], listing.failures[::-1])
    shares = [share(listing if one.number % 2 else backwards, one) for one in shards]
    assert sorted(f.relative for s in shares for f in s.files) == sorted(listing.names)
    assert sorted(f.file for s in shares for f in s.failures) == sorted(names[1::2])
    assert all(sorted(one.names) == sorted(listing.names) for one in shares)


@given(name=st.text(st.characters(exclude_categories=["Cs"])), count=st.integers(1, 9))
def test_machines_that_spell_a_name_differently_agree(name: str, count: int) -> None:
    spelt = [unicodedata.normalize(form, name) for form in ("NFC", "NFD")]
    assert len({n for n in range(1, count + 1) if any(map(Shard(n, count).takes, spelt))}) == 1


def test_who_takes_what_is_the_same_in_every_version() -> None:
    """Recorded; sha256 of the name's UTF-8 modulo the count."""
    taken = {name: next(n for n in range(1, 9) if Shard(n, 8).takes(name)) for name in (
        "a.tif", "sub/a.tif", "größe.png")}  # fmt: skip
    assert taken == {"a.tif": 7, "sub/a.tif": 4, "größe.png": 4}


def test_many_inputs_are_shared_out_evenly() -> None:
    sizes = [sum(Shard(n, 8).takes(f"img_{k:04d}.tif") for k in range(4000)) for n in range(1, 9)]
    # 500 expected, standard deviation sqrt(4000 * 1/8 * 7/8) = 21
    assert all(400 < size < 600 for size in sizes)


def test_a_shard_without_inputs_ends_well_and_says_so(tmp_path: Path, engine: Engine) -> None:
    source = tmp_path / "in"
    save(source / owned_by("1/2"), blobs(40, 48, seed=1))
    sink = Recorder()
    options = SegmentOptions(source, shard=Shard(2, 2))
    summary = segment(options, engine, sink)
    assert (summary.exit_code, summary.state, summary.fields) == (0, "finished", 0)
    assert "shard 2/2: none of the 1 inputs falls to it, so there is nothing to do" in sink.notes
    assert (Shard(2, 2).home(summary.out) / "run.json").exists()


def test_one_file_has_no_shards(tmp_path: Path, engine: Engine) -> None:
    path = save(tmp_path / "a.png", blobs(40, 48, seed=1))
    with pytest.raises(UsageError) as caught:
        shard(path, engine, "1/1")
    assert str(caught.value) == (
        f"--shard 1/1: {path} is one file, and shards split a folder. Leave --shard out"
    )


def refusal(source: Path, engine: Engine, options: SegmentOptions) -> str:
    with pytest.raises(HptlError) as caught:
        segment(replace(options, input=source), engine)
    assert isinstance(caught.value, ResultsError | InputError)
    return str(caught.value)


def test_what_must_not_meet_in_one_folder(tmp_path: Path, engine: Engine) -> None:
    source, out = folder_of(tmp_path / "in", 3), tmp_path / "in-segmented"
    shard(source, engine, "1/4")
    alone, other = SegmentOptions(source), SegmentOptions(source, shard=Shard(1, 8))
    before = sorted(out.rglob("*.tif"))
    assert refusal(source, engine, alone) == (
        f"{out}: holds shards that are not merged yet (1/4). Join them first with "
        f"`hptl-deploy merge {out}`, or choose another --out"
    )
    assert refusal(source, engine, other) == (
        f"{out}: is being segmented in 4 shards (1/4), not in 8. Go on with --shard 1/4 and so on "
        "and merge them, or choose another --out"
    )
    elsewhere = folder_of(tmp_path / "elsewhere", 1)
    options = SegmentOptions(elsewhere, out, shard=Shard(2, 4))
    assert refusal(elsewhere, engine, options) == (
        f"{out}: holds shard 1/4 of {source}, not of {elsewhere}. Choose another --out"
    )
    assert sorted(out.rglob("*.tif")) == before
    # What was refused is in nobody's way.
    assert shard(source, engine, "2/4").exit_code == 0


def test_a_run_that_goes_on_keeps_out_what_must_not_meet_it(tmp_path: Path, engine: Engine) -> None:
    source = folder_of(tmp_path / "in", 3)
    out = shard(source, engine, "1/2", tmp_path / "out").out
    Shard(2, 2).home(out).mkdir()
    with Ledger(Shard(2, 2).home(out), out):
        assert refusal(source, engine, SegmentOptions(source, out, shard=Shard(2, 2))) == (
            f"{Shard(2, 2).home(out)}: another run is writing these results. Wait until it ends, "
            "or choose another --out"
        )
        assert shard(source, engine, "1/2", out).exit_code == 0
    with Ledger(out):
        assert refusal(source, engine, SegmentOptions(source, out, shard=Shard(1, 2))) == (
            f"{out}: a run without --shard, or merge, is writing these results. Wait until it "
            "ends, or choose another --out"
        )


def test_a_shard_that_has_only_just_begun_is_seen(tmp_path: Path, engine: Engine) -> None:
    """Its lock is there before its run.json is; a dead one's file is in nobody's way."""
    source, out = folder_of(tmp_path / "in", 1), tmp_path / "out"
    home = Shard(1, 2).home(out)
    home.mkdir(parents=True)
    with Ledger(home, out):
        assert "holds shards that are not merged yet (1/2)" in refusal(
            source, engine, SegmentOptions(source, out)
        )
    assert segment(SegmentOptions(source, out), engine).exit_code == 0


def test_a_shard_goes_on_where_it_was_stopped(tmp_path: Path, engine: Engine) -> None:
    source = folder_of(tmp_path / "in", 8)
    first = shard(source, engine, "1/2")
    again = shard(source, engine, "1/2")
    assert first.counts["done"] == again.counts["skipped"] > 0
    assert again.counts["done"] == 0


def test_shards_go_on_from_an_unsharded_run(tmp_path: Path, engine: Engine) -> None:
    source = folder_of(tmp_path / "in", 6)
    out = segment(SegmentOptions(source), engine).out
    save(source / owned_by("2/2"), blobs(64, 96, seed=50))
    (out / "m00_classes.tif").unlink()
    counts = [shard(source, engine, text).counts for text in ("1/2", "2/2")]
    assert sum(one["skipped"] for one in counts) == 5
    assert sum(one["done"] for one in counts) == 2


def test_a_shard_leaves_what_is_anothers(tmp_path: Path, engine: Engine) -> None:
    """Half-written files, and results that an input of its own had before."""
    source = tmp_path / "in"
    name = owned_by("1/2", ".png")
    save(source / name, blobs(40, 48, seed=1))
    out = shard(source, engine, "1/2").out
    stem = Path(name).stem
    old = out / f"{stem}_classes.tif"
    half = out / f".0123456789abcdef-{os.getpid()}{TEMPORARY_SUFFIX}"
    own = Shard(1, 2).home(out) / half.name
    for path in (half, own):
        path.write_bytes(b"half")
    save(source / f"{stem}.tif", blobs(40, 48, seed=2))  # both carry their extension now
    assert shard(source, engine, "1/2").counts["done"] >= 1
    assert (out / f"{name}_classes.tif").exists()
    assert old.exists()
    assert half.exists()
    assert not own.exists()


def test_results_of_shards_are_no_input(tmp_path: Path, engine: Engine) -> None:
    source = folder_of(tmp_path / "in", 3)
    out = source / "results"
    shard(source, engine, "1/1", out)
    assert not (out / "run.json").exists()
    assert (out / "m00_classes.tif").exists()
    assert list_inputs(source, tmp_path / "elsewhere").names == ["m00.png", "m01.png", "m02.png"]
    with pytest.raises(InputError, match=r"is a results folder of .* \(it holds its shards\)"):
        list_inputs(out, tmp_path / "elsewhere")


def test_shards_of_somebody_else_are_input(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "in" / "sub" / "shards" / "1-of-2", 1)
    (folder / "run.json").write_text('{"tool": "something else"}')
    assert list_inputs(tmp_path / "in", tmp_path / "out").names == ["sub/shards/1-of-2/m00.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_what_cannot_be_listed_is_one_shards_failure(tmp_path: Path, engine: Engine) -> None:
    source = folder_of(tmp_path / "in", 2)
    (source / "a.oir").write_bytes(b"x")
    (source / "gone.tif").symlink_to(source / "nowhere.tif")
    failed = [shard(source, engine, f"{n}/3").failures for n in (1, 2, 3)]
    assert sorted(one.file for some in failed for one in some) == ["a.oir", "gone.tif"]


def test_the_ledger_of_a_shard_is_its_own(tmp_path: Path, engine: Engine) -> None:
    source = folder_of(tmp_path / "in", 4)
    out = shard(source, engine, "1/2").out
    assert not (out / LEDGER_FILE).exists()
    assert {path.name for path in Shard(1, 2).home(out).iterdir()} == {
        "run.json", "fields.csv", "failures.csv", "ledger.jsonl",
    }  # fmt: skip
