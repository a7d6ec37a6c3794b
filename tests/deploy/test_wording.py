from __future__ import annotations

import pytest

from hptl_deploy.wording import one_line, printable, shown_value

ESCAPE = "\x1b[2Jgone"


def test_what_a_terminal_would_obey_is_shown_as_a_question_mark() -> None:
    assert printable(f"a\tb\n{ESCAPE}\r") == "a\tb\n?[2Jgone?"
    assert printable("left\u202eright") == "left?right"
    assert printable("größe 日本 µm") == "größe 日本 µm"


def test_one_line_is_one_and_short() -> None:
    assert one_line(f"two\nlines {ESCAPE}") == "two lines ?[2Jgone"
    assert one_line("x" * 300, 10) == "x" * 7 + "..."


@pytest.mark.parametrize(
    ("value", "text"), [("a\nb", "'a\\nb'"), ([0] * 99, "a list of 99"), (None, "None")]
)
def test_values(value: object, text: str) -> None:
    assert shown_value(value) == text
