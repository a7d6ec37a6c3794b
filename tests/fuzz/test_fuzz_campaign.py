"""The campaign sees what it is there for, and makes a file again from its numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from fuzz.asked import needs_limits
from fuzz.campaign import ROOT, run
from fuzz.judging import FAMILIES


@needs_limits
def test_what_goes_wrong_is_found_and_the_rest_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz.campaign.SECONDS", 5)
    report = run("traps", 0, 8)
    assert report.outcomes == {"finding": 5, "read": 2, "no memory": 1}
    said = [report.findings.get(number, "") for number in range(8)]
    assert said[1].startswith("trap 1: brings the process down (exit status -6")
    assert said[2] == "trap 2: still reading after 5 s"
    assert list(report.heavy) == [3]
    assert said[4].startswith("trap 4: ValueError: untranslated (judging.py:")
    assert said[5] == "trap 5: prints b'noise'"
    assert said[6].startswith("trap 6: AssertionError: names ")


@pytest.mark.parametrize("family", ["pictures", "models"])
def test_a_file_is_made_again(family: str, tmp_path: Path) -> None:
    name, content = FAMILIES[family].make(5, 321)
    folders = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
    line = ["-m", "fuzz.campaign", family, "--seed", "5", "--make", "321", "--into", str(tmp_path)]
    subprocess.run(
        [sys.executable, *line],
        env={**os.environ, "PYTHONPATH": folders, "PYTHONHASHSEED": "9"},
        check=True,
        capture_output=True,
    )
    assert sha256((tmp_path / name).read_bytes()).digest() == sha256(content).digest()
    assert FAMILIES[family].make(6, 321)[1] != content
    assert FAMILIES[family].make(5, 322)[1] != content
