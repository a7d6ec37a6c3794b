"""The one place that writes to the screen.

Human form: results on standard output, notes and progress on standard error.
JSON form (`--json`): one document on standard output, everything else on standard error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from hptl_deploy.sink import Bar, Silent
from hptl_deploy.wording import printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document instead of text.")
]


class Output:
    """Where a command's words go; made once per command."""

    def __init__(self, *, as_json: bool, muted: bool = False) -> None:
        """`muted`: nothing is written, because another process of the same run speaks."""
        self.as_json = as_json
        self.muted = muted

    def say(self, text: str) -> None:
        """A line of the result. Under `--json` it goes to standard error."""
        self._write(text, sys.stderr if self.as_json else sys.stdout)

    def note(self, text: str) -> None:
        """A remark that is no result: which model runs, what was skipped, a warning."""
        self._write(text, sys.stderr)

    def document(self, content: dict[str, Any]) -> None:
        """The JSON document of the command; nothing in human form."""
        if not self.as_json:
            return
        text = json.dumps(content, indent=2, ensure_ascii=False)
        try:
            text.encode(sys.stdout.encoding or "utf-8")
        except UnicodeEncodeError:
            # Escaped, so that a program that reads it gets every name whole.
            text = json.dumps(content, indent=2)
        self._write(text, sys.stdout)

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A small table, first column left, the others right."""
        if self.as_json:
            return
        widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
        lines = [title] if title else []
        for row in [header, *rows]:
            cells = [
                cell.ljust(width) if column == 0 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  " + "  ".join(cells).rstrip())
        self.say("\n".join(lines))

    @contextmanager
    def progress(self, title: str, total: float, unit: str, done: float = 0.0) -> Iterator[Bar]:
        """A bar with rate and time left on standard error; silent where that is no terminal.

        `done` units of `total` are finished before the start and do not count for the rate.
        """
        if self.muted or not sys.stderr.isatty():
            yield Silent()
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        with Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.4g}/{task.total:g} " + unit),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[note]}"),
            console=Console(file=sys.stderr),
            transient=True,
        ) as progress:
            task = progress.add_task(title, total=total, note="", rate="")
            progress.update(task, completed=done)
            yield _Bar(progress, task, unit)

    def _write(self, text: str, stream: TextIO) -> None:
        if self.muted:
            return
        # A name such as `µm größe 日本.tif` must not end the run on a console of another
        # code page.
        encoding = stream.encoding or "utf-8"
        text = printable(text)
        stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        stream.flush()


class _Bar:
    def __init__(self, progress: Progress, task: TaskID, unit: str) -> None:
        self._progress, self._task, self._unit = progress, task, unit

    def advance(self, amount: float = 1.0, note: str = "", speed: str = "") -> None:
        """Move the bar and refresh its rate."""
        self._progress.update(self._task, advance=amount)
        if note:
            self._progress.update(self._task, note=note)
        rate = next(t.speed for t in self._progress.tasks if t.id == self._task)
        if rate:
            shown = f"{rate:.2f} {self._unit}/s" if rate >= 0.1 else f"{1 / rate:.1f} s each"
            self._progress.update(self._task, rate=", ".join(filter(None, (shown, speed))))


def output(context: typer.Context, *, as_json: bool) -> Output:
    """The sink of this command: `--json` counts before the command's name as well as behind."""
    root = context.find_root()
    # torchrun starts several processes of one command: the first one speaks.
    muted = "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("RANK", "0") != "0"
    sink = Output(as_json=as_json or bool((root.obj or {}).get("json")), muted=muted)
    root.obj = {"json": sink.as_json}
    return sink
