from __future__ import annotations

import io
import json
import sys

import pytest

from hptl_deploy.cli.output import Output

NAME = "µm größe 日本.tif"


def console(monkeypatch: pytest.MonkeyPatch, name: str, encoding: str) -> io.BytesIO:
    """Put a console of another code page in place of `sys.<name>`; what it was sent."""
    sent = io.BytesIO()
    monkeypatch.setattr(sys, name, io.TextIOWrapper(sent, encoding=encoding, newline=""))
    return sent


def test_results_and_remarks_have_their_own_streams(capsys: pytest.CaptureFixture[str]) -> None:
    sink = Output(as_json=False)
    sink.say("a result")
    sink.note("a remark")
    sink.document({"a": 1})
    assert capsys.readouterr() == ("a result\n", "a remark\n")


def test_json_leaves_standard_output_to_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    sink = Output(as_json=True)
    sink.say("a result")
    sink.note("a remark")
    sink.table("title", ["a"], [["b"]])
    with sink.progress("work", 2, "files") as bar:
        bar.advance(1, "first")
    sink.document({"file": NAME})
    said, noted = capsys.readouterr()
    assert json.loads(said) == {"file": NAME}
    assert NAME in said
    assert noted == "a result\na remark\n"


def test_a_table_is_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    sink = Output(as_json=False)
    sink.table("phases", ["name", "%"], [["matrix", "7.25"], ["µ", "100.00"]])
    sink.table("", ["a", "b"], [])
    assert capsys.readouterr().out.splitlines() == [
        "phases",
        "  name         %",
        "  matrix    7.25",
        "  µ       100.00",
        "  a  b",
    ]


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("cp1252", "µm größe ??.tif"), ("ascii", "?m gr??e ??.tif"), ("utf-8", NAME)],
)
def test_a_console_of_another_code_page_shows_what_it_can(
    monkeypatch: pytest.MonkeyPatch, encoding: str, shown: str
) -> None:
    said = console(monkeypatch, "stdout", encoding)
    noted = console(monkeypatch, "stderr", encoding)
    sink = Output(as_json=False)
    sink.say(NAME)
    sink.note(NAME)
    assert said.getvalue().decode(encoding) == shown + "\n"
    assert noted.getvalue().decode(encoding) == shown + "\n"


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_a_document_keeps_every_name_on_every_console(
    monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    said = console(monkeypatch, "stdout", encoding)
    Output(as_json=True).document({"file": NAME})
    assert json.loads(said.getvalue().decode(encoding)) == {"file": NAME}


def test_a_name_that_is_no_text_is_shown_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    # Linux file names are bytes; those that are no UTF-8 come as lone surrogates.
    said = console(monkeypatch, "stdout", "utf-8")
    Output(as_json=False).say("a\udcff.tif")
    Output(as_json=True).document({"file": "a\udcff.tif"})
    first, document = said.getvalue().decode().split("\n", 1)
    assert first == "a?.tif"
    assert json.loads(document) == {"file": "a\udcff.tif"}
