"""How long `hptl-deploy export --fp16` takes, step by step, with the full-size FCN-8s.

    python benchmarks/export.py                 # 140 M parameters: some minutes, 8 GB
    python benchmarks/export.py --width 0.125
    python benchmarks/export.py --run runs/mine # a finished run of your own

The commands of the program do everything: `synth` draws micrographs, `train` makes a finished run
of the recipe's random weights (He-normal, seeded) and a single iteration, and `export` is timed,
its start and its imports included, verification and the engine too. What it notes is timed line by
line; a line's seconds last until the next one. Nothing is skipped: weights that failed a check
would end the benchmark.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hptl_deploy import __version__
from hptl_deploy.bench.machine import busy_share, cores
from hptl_deploy.doctor.processor import processor

_COMMAND = (sys.executable, "-m", "hptl_deploy.cli.main")
_LIBRARIES = ("onnxruntime-gpu", "onnxruntime", "onnx", "torch", "tensorrt-rtx", "tensorrt")
_SIZE = "640x480"
"""Of the micrographs: more than the crops that the full-size network is verified on."""
_FRAMES = 8
_LONGEST_LINE = 90


@dataclass(frozen=True)
class Step:
    """What `export` said, and how long it was at it."""

    said: str
    seconds: float


def finished_run(folder: Path, width: float, seed: int) -> Path:
    """A run of one iteration on synthetic micrographs, four of which are its validation split."""
    data, run = folder / "data", folder / "runs" / "bench"
    _call("synth", str(data), "--images", str(_FRAMES), "--size", _SIZE, "--seed", str(seed))
    description = data / "dataset.toml"
    text = description.read_text(encoding="utf-8")
    description.write_text(text.replace("val = 0.1", "val = 0.5"), encoding="utf-8")
    _call(
        *("train", str(data), "--recipe", "fcn8s", "--width", str(width), "--seed", str(seed)),
        *("--iterations", "1", "--batch", "2", "--device", "cpu"),
        *("--runs", str(run.parent), "--name", run.name),
    )
    return run


def timed_export(run: Path, models: Path, engine: str) -> list[Step]:
    """The steps of one export, and all of it as the last. Ends the program where it fails."""
    began, worked = time.perf_counter(), _processor_seconds()
    process = subprocess.Popen(
        [*_COMMAND, "export", str(run), "--fp16", "--engine", engine, "--models", str(models)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(),
    )
    assert process.stdout is not None and process.stderr is not None
    results: list[str] = []
    # Read beside the notes: a full pipe would hold the command up.
    reader = threading.Thread(target=lambda out=process.stdout: results.extend(out))
    reader.start()
    steps, said, since = [], "start and imports", began
    for line in process.stderr:
        now = time.perf_counter()
        steps.append(Step(said, now - since))
        said, since = line.strip(), now
    code = process.wait()
    ended = time.perf_counter()
    steps.append(Step(said, ended - since))
    reader.join()
    if code:
        raise SystemExit("\n".join(["export failed:", *(step.said for step in steps), *results]))
    print("".join(results))
    # On a shared machine a clock alone says little.
    work = _processor_seconds() - worked
    return [*steps, Step(f"in all ({work:.0f} s of processors' time)", ended - began)]


def report(steps: list[Step]) -> None:
    """Print the table."""
    print("| step | seconds |\n|---|---|")
    for step in steps:
        print(f"| {step.said[:_LONGEST_LINE]} | {step.seconds:.1f} |")
    print(flush=True)


def machine() -> str:
    """What it runs on."""
    libraries = []
    for name in _LIBRARIES:
        try:
            libraries.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return (
        f"{processor()['name']}, {cores()} cores; Python {platform.python_version()}, hptl-deploy "
        f"{__version__}, {', '.join(libraries)}; others take {busy_share():.0%} of the processors"
    )


def _processor_seconds() -> float:
    """What the processes that this one started have taken so far; 0 on Windows."""
    spent = os.times()
    return spent.children_user + spent.children_system


def _call(*arguments: str) -> None:
    subprocess.run([*_COMMAND, *arguments], check=True, env=_environment())


def _environment() -> dict[str, str]:
    """The packages where this process found them."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=float, default=1.0, help="of the network; 1 is full size")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", default="tensorrt-rtx", help="as `export` takes it")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--run", type=Path, help="a finished run; made where it is left out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        run = options.run or finished_run(folder, options.width, options.seed)
        for number in range(options.repeats):
            print(machine())
            report(timed_export(run, folder / f"models-{number}", options.engine))


if __name__ == "__main__":
    main()
