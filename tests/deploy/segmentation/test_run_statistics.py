"""Statistics as a run leaves them: beside which fields, in which state, and in which style."""

from __future__ import annotations

import csv
import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from hptl_deploy.csv_text import read_table
from hptl_deploy.engines import Engine
from hptl_deploy.errors import InputError, ResultsError, UsageError
from hptl_deploy.results import JOINED_FILES
from hptl_deploy.segmentation import SegmentOptions, segment
from hptl_deploy.segmentation.shards.merging import merge
from hptl_deploy.segmentation.shards.sharding import Shard
from hptl_deploy.statistics.table_options import TableOptions
from support.drawings import blobs, folder_of, save
from support.shards import one, owned, problems, run_shards
from support.sinks import Recorder

COMMA = TableOptions(decimal_comma=True)


@pytest.fixture
def specimens(tmp_path: Path) -> Path:
    """Two folders of three and two micrographs, and one beside them."""
    source = tmp_path / "in"
    for seed, name in enumerate(["A/a", "A/b", "A/c", "B/a", "B/b", "d"]):
        save(source / f"{name}.png", blobs(40, 48, seed=seed))
    return source


def joined(out: Path) -> list[str]:
    return [name for name in JOINED_FILES if (out / name).exists()]


def fractions(out: Path, folder: str, key: str) -> list[float]:
    rows = read_table(out / "fields.csv")
    return [float(row[f"{key}_area_fraction"]) for row in rows if row["file"].startswith(folder)]


def test_every_folder_is_a_group(specimens: Path, engine: Engine) -> None:
    summary = segment(SegmentOptions(specimens), engine)
    lines = {(x["group"], x["phase"]): x for x in read_table(summary.out / "statistics.csv")}
    assert list(dict.fromkeys(group for group, _ in lines)) == ["(all)", "(top)", "A", "B"]
    for group, folder in (("(all)", ""), ("A", "A/"), ("B", "B/")):
        for key in ("al", "mg2si", "fe"):
            values, line = fractions(summary.out, folder, key), lines[group, key]
            assert line["n_fields"] == str(len(values))
            assert float(line["mean"]) == pytest.approx(np.mean(values))
            half = stats.sem(values) * stats.t.ppf(0.975, len(values) - 1)
            assert float(line["ci95"]) == pytest.approx(half)
    assert lines["(top)", "al"]["ci95"] == ""
    assert summary.findings.groups() == ["(top)", "A", "B"]
    assert summary.area_fractions["fe"] == pytest.approx(float(lines["(all)", "fe"]["mean"]))


def test_a_decimal_comma_is_in_all_tables_and_needs_no_new_segmentation(
    specimens: Path, engine: Engine
) -> None:
    (specimens / "bad.tif").write_bytes(b"II*\0")
    options = SegmentOptions(specimens)
    out = segment(options, engine).out
    plain = {name: (out / name).read_text("utf-8") for name in ("fields.csv", "statistics.csv")}
    again = segment(replace(options, tables=COMMA), engine)
    assert (again.counts["done"], again.counts["skipped"]) == (0, 6)
    for name, text in plain.items():
        # Versions keep their points.
        cells = list(csv.reader(text.splitlines()))
        commas = list(csv.reader((out / name).read_text("utf-8").splitlines(), delimiter=";"))
        changed = [(a, b) for one, two in zip(cells, commas, strict=True)
                   for a, b in zip(one, two, strict=True) if a != b]  # fmt: skip
        assert changed
        assert all(float(a) == float(b.replace(",", ".")) for a, b in changed)
    assert (out / "failures.csv").read_text("utf-8").startswith("file;stage;reason\nbad.tif;read;")
    assert json.loads((out / "run.json").read_text("utf-8"))["tables"] == {
        "decimal_comma": True, "needle_aspect": 3.0,
    }  # fmt: skip


def test_while_a_run_changes_fields_there_are_no_tables_over_them(
    specimens: Path, engine: Engine
) -> None:
    out = segment(SegmentOptions(specimens), engine).out
    assert joined(out) == list(JOINED_FILES)
    save(specimens / "A" / "new.png", blobs(40, 48, seed=9))
    seen: list[list[str]] = []
    segment(SegmentOptions(specimens), engine, Recorder(lambda _: seen.append(joined(out))))
    assert seen
    assert not any(seen)
    assert joined(out) == list(JOINED_FILES)
    assert read_table(out / "statistics.csv")[0]["n_fields"] == "7"


def test_a_run_that_breaks_leaves_none(
    specimens: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = segment(SegmentOptions(specimens), engine).out
    save(specimens / "A" / "new.png", blobs(40, 48, seed=9))

    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hptl_deploy.segmentation.run.run_stream", broken)
    with pytest.raises(KeyboardInterrupt):
        segment(SegmentOptions(specimens), engine)
    assert joined(out) == []


def test_an_interrupted_run_leaves_those_of_what_is_done(tmp_path: Path, engine: Engine) -> None:
    source = folder_of(tmp_path / "in", 120)  # more than fit into the queues
    stop = threading.Event()
    summary = segment(SegmentOptions(source), engine, Recorder(lambda _: stop.set()), stop)
    assert summary.state == "interrupted"
    done = len(read_table(summary.out / "fields.csv"))
    assert 0 < done < 120
    assert read_table(summary.out / "statistics.csv")[0]["n_fields"] == str(done)


def test_a_table_that_is_held_open_is_named_before_anything_is_done(
    specimens: Path, engine: Engine
) -> None:
    out = segment(SegmentOptions(specimens), engine).out
    (out / "summary.xlsx").unlink()
    (out / "summary.xlsx" / "held").mkdir(parents=True)  # cannot be removed, as on Windows
    save(specimens / "A" / "new.png", blobs(40, 48, seed=9))
    with pytest.raises(ResultsError) as caught:
        segment(SegmentOptions(specimens), engine)
    assert str(caught.value).startswith(f"{out}: summary.xlsx cannot be written (")
    assert str(caught.value).endswith(
        "). Make room, or close programs that hold them open, and run again; class maps are kept"
    )
    assert not (out / "A" / "new_classes.tif").exists()
    assert len(read_table(out / "fields.csv")) == 6


def test_somebody_elses_table_is_not_overwritten(specimens: Path, engine: Engine) -> None:
    out = specimens.with_name("out")
    out.mkdir()
    (out / "statistics.csv").write_text("mine")
    with pytest.raises(InputError) as caught:
        segment(SegmentOptions(specimens, out), engine)
    assert str(caught.value) == (
        f"{out}: holds a statistics.csv that this program did not write. Choose another --out"
    )
    assert (out / "statistics.csv").read_text() == "mine"


def test_a_folder_of_such_a_name_is_called_otherwise(tmp_path: Path, engine: Engine) -> None:
    save(tmp_path / "in" / "Sizes.csv" / "a.png", blobs(40, 48, seed=1))
    out = segment(SegmentOptions(tmp_path / "in"), engine).out
    assert (out / "Sizes.csv_" / "a_classes.tif").is_file()


def test_shards_leave_them_to_merge(specimens: Path, engine: Engine) -> None:
    out = run_shards(specimens, engine, 2, tables=COMMA)
    assert joined(out) == []
    assert not [name for home in (out / "shards").iterdir() for name in joined(home)]
    merged = merge(out)
    assert joined(out) == list(JOINED_FILES)
    assert read_table(out / "statistics.csv")[0]["n_fields"] == "6"
    assert (out / "statistics.csv").read_text("utf-8").startswith("group;phase;")
    again = merge(out)
    assert again.already
    assert again.summary.findings == merged.summary.findings
    assert again.summary.failures == merged.summary.failures


def test_a_shards_summary_is_of_its_share(tmp_path: Path, engine: Engine) -> None:
    names = [*owned(1, 2)[:3], *owned(2, 2)[:2]]
    for seed, name in enumerate(names):
        save(tmp_path / "in" / name, blobs(40, 48, seed=seed))
    summary = one(tmp_path / "in", engine, 1, 2)
    assert summary.findings.lines[0].estimate.n == 3


def test_shards_of_unlike_tables_are_not_merged(specimens: Path, engine: Engine) -> None:
    one(specimens, engine, 1, 2)
    out = one(specimens, engine, 2, 2, tables=TableOptions(True, 2.5)).out
    assert problems(out) == [
        "tables: decimal point, needles from aspect ratio 3 in 1/2; decimal comma, needles from "
        "aspect ratio 2.5 in 2/2"
    ]


def test_the_command_that_runs_a_shard_again_writes_the_same_tables(
    specimens: Path, engine: Engine
) -> None:
    out = one(specimens, engine, 2, 2, tables=TableOptions(True, 2.5)).out
    (problem,) = problems(out)
    assert problem.startswith("shard 1/2: has not been run: hptl-deploy segment ")
    assert problem.endswith(" --decimal-comma --needle-aspect 2.5")
    segment(SegmentOptions(specimens, shard=Shard(1, 2), tables=TableOptions(True, 2.5)), engine)
    assert not merge(out).already


@pytest.mark.parametrize("aspect", [1.0, 0.5, -3.0, float("nan"), float("inf")])
def test_an_aspect_that_every_particle_has_is_refused(tmp_path: Path, aspect: float) -> None:
    options = SegmentOptions(tmp_path, tables=TableOptions(needle_aspect=aspect))
    with pytest.raises(UsageError) as caught:
        options.check()
    assert str(caught.value) == (
        f"--needle-aspect {aspect:g}: expected a number above 1, because every particle is at "
        "least as long as it is wide"
    )
