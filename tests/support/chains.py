"""Chains of tiny networks through the command line, in this process or in one of its own."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from hptl_deploy.cli.main import run
from hptl_train.recipe import Recipe

PROGRAM = [sys.executable, "-m", "hptl_deploy.cli.main"]


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


def write_recipe(path: Path, chain: Recipe) -> Path:
    path.write_text(tomli_w.dumps(chain.model_dump(mode="json", exclude_none=True)))
    return path


def command(runs: Path, *words: object) -> list[str]:
    """`hptl-deploy train` as a process of its own."""
    base = [*PROGRAM, "train", "--runs", str(runs)]
    return [*base, "--device", "cpu", *map(str, words)]


def same_run(one: Path, other: Path) -> bool:
    """Whether losses and final weights are the same, bit by bit."""
    names = ("metrics.jsonl", "4-fcn8s/weights.safetensors", "1-vgg19/weights.safetensors")
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def train(runs: Path, *words: object) -> Ended:
    """`hptl-deploy train` in this process, which has loaded torch already."""
    said, noted = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(noted):
        code = run(command(runs, *words)[len(PROGRAM) :])
    return Ended(code, said.getvalue(), noted.getvalue())


def train_alone(runs: Path, *words: object) -> Ended:
    """The same in a process of its own.

    For runs that are compared bit by bit: libraries that other tests load, and numbers of threads
    that they set, round sums in another order.
    """
    done = subprocess.run(command(runs, *words), capture_output=True, encoding="utf-8", check=False)
    return Ended(done.returncode, done.stdout, done.stderr)
