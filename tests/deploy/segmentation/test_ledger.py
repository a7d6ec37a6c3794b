from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hptl_deploy.errors import ResultsError
from hptl_deploy.segmentation.ledger import LEDGER_FILE, Entry, Ledger


def entry(folder: Path, file: str, *outputs: str) -> Entry:
    for name in outputs:
        (folder / name).write_bytes(b"12345")
    return Entry(
        file=file,
        bytes=1,
        sha256="c",
        model_sha256="m",
        settings_sha256="s",
        base=Path(file).stem,
        outputs=dict.fromkeys(outputs, 5),
        rows=[{"file": file, "al_area_fraction": 0.1}],
    )


def test_entries_survive(tmp_path: Path) -> None:
    written = entry(tmp_path, "größe.tif", "größe_classes.tif")
    with Ledger(tmp_path) as ledger:
        ledger.append(written)
    with Ledger(tmp_path) as ledger:
        assert ledger.entry("größe.tif") == written
        assert ledger.entry("other.tif") is None


@pytest.mark.parametrize("cut", [1, 2, 40])
def test_a_torn_last_line_is_dropped_and_the_next_is_whole(tmp_path: Path, cut: int) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.append(entry(tmp_path, "a.tif", "a_classes.tif"))
        ledger.append(entry(tmp_path, "b.tif", "b_classes.tif"))
    path = tmp_path / LEDGER_FILE
    path.write_bytes(path.read_bytes()[:-cut])
    with Ledger(tmp_path) as ledger:
        assert ledger.entry("a.tif") is not None
        assert ledger.entry("b.tif") is None
        ledger.append(entry(tmp_path, "c.tif", "c_classes.tif"))
    with Ledger(tmp_path) as ledger:
        assert ledger.entry("c.tif") is not None


def test_lines_that_are_no_entries_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / LEDGER_FILE).write_text('null\n{"schema": 9}\nrubbish\n[1]\n', encoding="utf-8")
    with Ledger(tmp_path) as ledger:
        ledger.append(entry(tmp_path, "a.tif", "a_classes.tif"))
    with Ledger(tmp_path) as ledger:
        assert ledger.entry("a.tif") is not None


def test_results_must_be_there_in_their_size(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        written = entry(tmp_path, "a.tif", "a_classes.tif")
        ledger.append(written)
        assert ledger.is_in_place(written)
        (tmp_path / "a_classes.tif").write_bytes(b"1234")
        assert not ledger.is_in_place(written)
        (tmp_path / "a_classes.tif").unlink()
        assert not ledger.is_in_place(written)


def test_an_input_whose_result_another_took_over_is_not_done(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.append(entry(tmp_path, "a.tif", "a_classes.tif"))
        ledger.append(entry(tmp_path, "a.png", "A_classes.tif"))
        assert ledger.entry("a.tif") is None
        assert ledger.entry("a.png") is not None


def test_sweep_deletes_what_nobody_has_any_more(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        first = entry(tmp_path, "a.tif", "a_classes.tif", "a_overlay.jpg", "a_own.txt")
        ledger.append(first)
        (tmp_path / "a_own.txt").write_bytes(b"changed by its owner")
        ledger.append(replace(first, outputs={"a_classes.tif": 5}))
        assert ledger.sweep(["a.tif"]) == 1
    assert (tmp_path / "a_classes.tif").exists()
    assert not (tmp_path / "a_overlay.jpg").exists()
    assert (tmp_path / "a_own.txt").exists()


def test_two_runs_do_not_write_one_folder(tmp_path: Path) -> None:
    with Ledger(tmp_path), pytest.raises(ResultsError) as caught:
        Ledger(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: another run is writing these results. "
        "Wait until it ends, or choose another --out"
    )
    Ledger(tmp_path).close()


def test_a_ledger_that_vanished_stops_the_run(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        (tmp_path / LEDGER_FILE).unlink()
        with pytest.raises(ResultsError, match="has been deleted, so the run stops"):
            ledger.append(entry(tmp_path, "a.tif"))
