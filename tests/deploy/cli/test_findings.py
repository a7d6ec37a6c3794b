from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hptl_deploy.cli import findings as shown
from hptl_deploy.cli.output import Output
from hptl_deploy.phases import PAPER_PHASES
from hptl_deploy.statistics.joined import JoinedTables
from hptl_deploy.statistics.table_options import TableOptions
from hptl_deploy.statistics.validation import Validation
from support.field_rows import row
from support.particle_tables import write_particle_table

Capture = pytest.CaptureFixture[str]
SCORES = {"al": Validation(), "mg2si": Validation(0.8125, -0.00027, 0.00175), "fe": Validation(0.7)}


def lines(folder: Path, rows: list[dict[str, Any]], capsys: Capture) -> list[str]:
    found = JoinedTables(folder, PAPER_PHASES, SCORES, TableOptions()).find(rows)
    shown.show_findings(found, Output(as_json=False))
    return capsys.readouterr().out.splitlines()


def test_intervals_groups_particles_and_notes(tmp_path: Path, capsys: Capture) -> None:
    # Mg2Si: 1, 3 and 8 %: mean 4, s = sqrt((9 + 1 + 16) / 2) = 3.606, t(2) = 4.303,
    # CI = 4.303 x 3.606 / sqrt(3) = 8.957, %RA = 223.9; in A, as in test_joined, CI = 12.706.
    write_particle_table(
        tmp_path / "p.parquet", "A/a.tif", [100, 400, 150], aspect=[1.0, 4.0, 3.5],
        cut=[False, False, True], pixel_size_um=0.5,
    )  # fmt: skip
    rows = [
        row("A/a.tif", mg2si=0.01) | {"particles_file": "p.parquet", "pixel_size_um": 0.5},
        row("A/b.tif", mg2si=0.03),
        row("B/a.tif", mg2si=0.08) | {"width_px": 200},
    ]
    assert lines(tmp_path, rows, capsys) == [
        "area fraction in %, 3 fields",
        "  phase                  mean      s  95 % CI +-    %RA  fields for 10 %RA  "
        "model's IoU    its bias  one field +-",
        "  aluminium matrix     96.000  3.606       8.957    9.3         3 (0 more)  "
        " not stated  not stated    not stated",
        "  Mg2Si                 4.000  3.606       8.957  223.9     315 (312 more)  "
        "      0.812      -0.027         0.175",
        "  Fe-containing phase   0.000  0.000           -      -                  -  "
        "      0.700  not stated    not stated",
        "  the model's errors, from validation, in % points: its bias over all micrographs, and "
        "how far one was off on the mean; not in the interval",
        "by folder",
        "  folder  fields  aluminium matrix            Mg2Si  Fe-containing phase",
        "  A            2  98.000 +- 12.706  2.000 +- 12.706                0.000",
        "  B            1            92.000            8.000                0.000",
        "particles and their equivalent diameters, by number",
        "  phase                particles  touching border  others under 10 px   D10   D50   D90"
        "  unit  needle-shaped %  of particles",
        "  Fe-containing phase          3                1                   0  5.64  5.64  11.3"
        "    um             50.0             2",
        "  fields differ in size, 0.0002 to 0.002 Mpx; each counts the same",
        "  the pixel size of 2 of 3 fields is unknown: figures in um and mm2 are of the others",
    ]


def test_many_folders_are_left_to_the_table(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shown, "_MOST_GROUPS", 2)
    said = lines(tmp_path, [row(f"{name}/a.tif") for name in "DCBA"], capsys)
    assert said[-3].split()[0] == "A"
    assert said[-2].split()[0] == "B"
    assert said[-1] == "  and 2 more folders in statistics.csv"


def test_without_fields_nothing_is_said(tmp_path: Path, capsys: Capture) -> None:
    assert lines(tmp_path, [], capsys) == []


def test_fields_of_which_nothing_is_left_are_told(tmp_path: Path, capsys: Capture) -> None:
    nothing = row("a.tif") | {f"{phase.key}_area_fraction": None for phase in PAPER_PHASES}
    assert lines(tmp_path, [nothing], capsys) == [
        "no field has an area fraction", "  1 field not counted, because all of it is left out",
    ]  # fmt: skip


def test_json_is_left_alone(tmp_path: Path, capsys: Capture) -> None:
    found = JoinedTables(tmp_path, PAPER_PHASES, SCORES, TableOptions()).find([row("a.tif")])
    shown.show_findings(found, Output(as_json=True))
    assert capsys.readouterr() == ("", "")
