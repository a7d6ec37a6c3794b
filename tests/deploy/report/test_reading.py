from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hptl_deploy.errors import ResultsError
from hptl_deploy.report.reading import read_results
from hptl_deploy.report.writing import write_report
from support.made_up_results import made_up_row, write_made_up


def refused(folder: Path) -> str:
    with pytest.raises(ResultsError) as caught:
        read_results(folder)
    return str(caught.value)


def changed(folder: Path, **entries: Any) -> Path:
    document = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    (folder / "run.json").write_text(json.dumps(document | entries), encoding="utf-8")
    return folder


def test_rows_come_in_the_order_of_fields_csv(tmp_path: Path) -> None:
    rows = [made_up_row(f"{name}.tif") for name in "cab"]
    out = write_made_up(tmp_path / "out", rows, results=[
        {"file": f"{name}.tif", "page": 1} for name in "abc"])  # fmt: skip
    assert [row["file"] for row in read_results(out).rows] == ["a.tif", "b.tif", "c.tif"]


def test_while_a_run_goes_on_rows_come_as_they_were_done(tmp_path: Path) -> None:
    out = write_made_up(tmp_path / "out", [made_up_row(f"{name}.tif") for name in "cab"])
    document = json.loads((out / "run.json").read_text(encoding="utf-8"))
    del document["results"]
    (out / "run.json").write_text(json.dumps(document), encoding="utf-8")
    assert [row["file"] for row in read_results(out).rows] == ["c.tif", "a.tif", "b.tif"]


def test_results_of_another_model_are_none_of_the_run(tmp_path: Path) -> None:
    out = write_made_up(tmp_path / "out", [made_up_row("a.tif")], results=[])
    line = json.loads((out / "ledger.jsonl").read_text(encoding="utf-8"))
    for other in ({"model_sha256": "22"}, {"settings_sha256": "22"}):
        with (out / "ledger.jsonl").open("a", encoding="utf-8") as ledger:
            stale = line | {"file": "b.tif", "outputs": {"b": 1}} | other
            ledger.write(json.dumps(stale) + "\n")
    assert read_results(changed(out, results=[{"file": "a.tif", "page": 1}])).outputs == {}


def test_failures_of_either_kind_of_table(tmp_path: Path) -> None:
    reason = "cannot be read, \u00e4h"
    out = write_made_up(tmp_path / "out", [], failures=[("b.tif", "read", reason)])
    wanted = [{"file": "b.tif", "stage": "read", "reason": reason}]
    assert read_results(out).failures == wanted
    text = f"file;stage;reason\nb.tif;read;{reason}\n"
    (out / "failures.csv").write_text(text, encoding="utf-8")
    assert read_results(out).failures == wanted
    (out / "failures.csv").unlink()
    assert read_results(out).failures == []


def test_other_folders_are_refused_in_a_sentence(tmp_path: Path) -> None:
    hint = "Name the results folder, which is INPUT-segmented where --out did not say otherwise"
    assert refused(tmp_path / "no") == (
        f"{tmp_path / 'no'}: is not a folder, so there is nothing to report. {hint}"
    )
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text('{"tool": "hptl-deploy train"}', encoding="utf-8")
    assert refused(tmp_path / "run") == (
        f"{tmp_path / 'run'}: holds no run.json of segment that can be read, "
        f"so there is nothing to report. {hint}"
    )
    write_made_up(tmp_path / "out" / "shards" / "1-of-2", [])
    assert refused(tmp_path / "out") == (
        f"{tmp_path / 'out'}: its shards are not merged yet. hptl-deploy merge {tmp_path / 'out'} "
        "joins what is in shards"
    )


def test_books_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    out = write_made_up(tmp_path / "out", [made_up_row("a.tif")])
    (out / "ledger.jsonl").write_text("", encoding="utf-8")
    assert refused(out) == (
        f"{out}: run.json names 1 fields that ledger.jsonl lacks, such as a.tif. Run segment "
        "again, which puts both right"
    )
    out = write_made_up(tmp_path / "rows", [made_up_row("a.tif", mean_confidence="high")])
    assert "holds rows that this version did not write" in refused(out)
    out = write_made_up(tmp_path / "phases", [made_up_row("a.tif")], phases=[{"key": "al"}])
    assert "expected a list of 2 to 250 phases" in refused(out)


@pytest.mark.parametrize(
    "name", ["model", "settings", "engine", "versions", "counts", "throughput"]
)
def test_a_run_json_that_lacks_things_is_read(tmp_path: Path, name: str) -> None:
    out = write_made_up(tmp_path / "out", [made_up_row("a.tif")])
    values: tuple[object, ...] = (None, [], "text")
    for value in values:
        if name != "model":  # without its hash no row is of it
            assert len(read_results(changed(out, **{name: value})).rows) == 1
        else:
            changed(out, model={"sha256": "0123456789abcdef" * 4, "card": value})
        write_report(out)
