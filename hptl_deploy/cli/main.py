"""`hptl-deploy`: the commands, and the one boundary where errors become sentences."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Annotated, cast

import typer

from hptl_deploy import __version__
from hptl_deploy.cli.annotate import annotate
from hptl_deploy.cli.bench import bench
from hptl_deploy.cli.compare import compare
from hptl_deploy.cli.demo import demo
from hptl_deploy.cli.doctor import doctor
from hptl_deploy.cli.evaluate import evaluate
from hptl_deploy.cli.export import export
from hptl_deploy.cli.features import features
from hptl_deploy.cli.info import info
from hptl_deploy.cli.merge import merge
from hptl_deploy.cli.output import JsonOption, Output
from hptl_deploy.cli.report import report
from hptl_deploy.cli.segment import segment
from hptl_deploy.cli.synth import synth
from hptl_deploy.cli.train import train
from hptl_deploy.cli.use import use
from hptl_deploy.errors import (
    EXIT_ENVIRONMENT,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_SOME_FAILED,
    EXIT_USAGE,
    HptlError,
)
from hptl_deploy.wording import printable

# The parent of everything the parser raises. Newer typer carries its own click and older
# typer imports it, so it is taken from where both show it.
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[2])

app = typer.Typer(
    name="hptl-deploy",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    help="Train, export and run micrograph segmentation: labelled micrographs in, a verified "
    "ONNX model and measured phase fractions out.",
)
_COMMANDS = (
    demo, synth, train, compare, export, segment, merge, report, evaluate, features, info, use,
    doctor, bench,
)  # fmt: skip
for command in _COMMANDS:
    app.command()(command)
app.add_typer(annotate, name="annotate")


def _version(value: bool) -> None:
    if value:
        print(f"hptl-deploy {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    as_json: JsonOption = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options that stand before the command."""
    context.obj = {"json": as_json}


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and end the process with the exit code of `hptl_deploy.errors`."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run one command line; returns its exit code and prints any error as a sentence."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    command = typer.main.get_command(app)
    wants_json = "--json" in arguments
    try:
        # Not `command.main`, which turns Ctrl-C into an exit without a word.
        with command.make_context("hptl-deploy", list(arguments)) as context:
            command.invoke(context)
    except typer.Exit as exc:
        return exc.exit_code
    except HptlError as exc:
        return _report(str(exc), exc.exit_code, wants_json)
    except _UsageError as exc:
        exc.message = _plainly(exc.message)
        exc.show()
        if wants_json:
            _document(exc.format_message(), EXIT_USAGE)
        return EXIT_USAGE
    except (KeyboardInterrupt, typer.Abort):
        return _report("interrupted; finished work is kept", EXIT_INTERRUPTED, wants_json)
    except Exception as exc:
        if os.environ.get("HPTL_DEBUG"):
            raise
        return _report(*_foreign(exc), wants_json)
    return EXIT_OK


def _plainly(message: str) -> str:
    """The parser's words for a value that is no number, of either typer, as what is expected."""
    if "valid number" in message or "valid float" in message:
        return "expected a number, its decimals behind a point, such as 0.25"
    if "valid integer" in message:
        return "expected a whole number"
    return message


def _report(message: str, code: int, wants_json: bool) -> int:
    print(f"hptl-deploy: {printable(message)}", file=sys.stderr)
    if wants_json:
        _document(message, code)
    return code


def _document(message: str, code: int) -> None:
    Output(as_json=True).document({"error": message, "exit_code": code})


def _foreign(error: Exception) -> tuple[str, int]:
    """(sentence, exit code) for an error that is none of ours."""
    if isinstance(error, OSError) and error.filename is not None:
        if isinstance(error, NotADirectoryError):
            return (
                f"{error.filename}: expected a folder's path, but a part of it is a file. Name "
                "another place"
            ), EXIT_ENVIRONMENT
        # A full disk, a missing right, a folder that went away: not the program's fault.
        reason = error.strerror or type(error).__name__
        return f"{error.filename}: the file system refuses it ({reason})", EXIT_ENVIRONMENT
    # What should not happen: the stack trace goes into a file.
    with tempfile.NamedTemporaryFile(
        "w", prefix="hptl-deploy-", suffix=".log", delete=False, encoding="utf-8"
    ) as log:
        traceback.print_exception(error, file=log)
    sentence = (
        f"unexpected {type(error).__name__}: {error}. This is a fault of the program; "
        f"{Path(log.name)} says where, please report it"
    )
    return sentence, EXIT_SOME_FAILED


if __name__ == "__main__":
    main()
