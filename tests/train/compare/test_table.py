"""The comparison's table: means, spreads, and the paper's columns."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pytest

from hptl_deploy.measurement.evaluation import Evaluation
from hptl_deploy.measurement.scores import Confusion
from hptl_deploy.phases import PAPER_PHASES
from hptl_train.compare.scoring import Scores
from hptl_train.compare.table import Figure, Table


def scores(l1: float | None, l2: float | None, matrix: list[list[int]]) -> Scores:
    confusion = Confusion(PAPER_PHASES)
    confusion.matrix = np.array(matrix, np.int64)
    found = Evaluation("drawn", None, confusion, {"one": confusion})
    document: dict[str, Any] = found.to_json()
    return Scores(l1, l2, document)


FIRST = [[90, 0, 0], [1, 4, 0], [0, 0, 5]]
SECOND = [[88, 2, 0], [0, 5, 0], [1, 0, 4]]


def test_mean_and_spread_are_numpys() -> None:
    figure = Figure((0.91, 0.95, 0.96))
    assert figure.mean == pytest.approx(np.mean(figure.values))
    assert figure.spread == pytest.approx(np.std(figure.values, ddof=1))
    assert figure.text(3) == "0.940 ± 0.026"
    assert figure.text(1, 100) == "94.0 ± 2.6"
    assert Figure((0.5,)).text(2, sign=True) == "+0.50"
    assert Figure(()).text(2) == "-"


def test_the_table_holds_the_papers_columns_and_ours() -> None:
    table = Table(
        {
            "otsu": [scores(None, None, FIRST)],
            "hptl": [scores(0.02, 0.05, FIRST), scores(0.04, 0.09, SECOND)],
        },
        {"otsu": 0.123, "hptl": 4.5678},
        {"hptl": 12_345_678},
        PAPER_PHASES,
    )
    header = table.header()
    assert header[:7] == ["method", "l1", "l2", "l2-l1", "s/image", "accuracy %", "mean IoU"]
    rows = {cells[0]: dict(zip(header, cells, strict=True)) for cells in table.lines()}
    assert list(rows) == ["OTSU", "HPTL"]
    assert [rows["OTSU"][name] for name in ("l1", "l2", "l2-l1")] == ["-", "-", "-"]
    assert rows["OTSU"]["s/image"] == "0.12"
    assert rows["OTSU"]["accuracy %"] == "99.00"
    assert rows["OTSU"]["IoU mg2si"] == "0.800"  # 4 of 5
    assert rows["OTSU"]["area error mg2si, points"] == "-1.00"
    assert rows["OTSU"]["abs. area error mg2si, points"] == "1.00"
    assert (rows["OTSU"]["Mpx trained"], rows["HPTL"]["Mpx trained"]) == ("-", "12.3")
    hptl = rows["HPTL"]
    assert hptl["l1"] == "0.0300 ± 0.0141"
    assert hptl["l2-l1"] == "0.0400 ± 0.0141"
    assert hptl["accuracy %"] == "98.00 ± 1.41"  # 99 and 97
    assert hptl["s/image"] == "4.57"
    assert table.markdown().endswith("over the seeds: OTSU 1, HPTL 2.\n")
    assert table.markdown().splitlines()[1] == "| " + " | ".join(["---"] * len(header)) + " |"


def test_the_csv_is_unrounded() -> None:
    table = Table({"hptl": [scores(1 / 3, 0.5, FIRST)]}, {}, {}, PAPER_PHASES)
    (row,) = csv.DictReader(io.StringIO(table.csv()))
    assert float(row["l1"]) == 1 / 3
    assert (row["l1_sd"], row["seconds_per_image"], row["seeds"]) == ("", "", "1")
    assert float(row["fe_iou"]) == 1.0
