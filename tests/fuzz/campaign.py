"""Many damaged files in worker processes: what came of each, and which brought a worker down.

    PYTHONPATH=.:tests python -m fuzz.campaign pictures --seed 1 --count 20000
    PYTHONPATH=.:tests python -m fuzz.campaign pictures --seed 1 --make 4711 --into FOLDER

A file is made again from its seed and its number, by the same versions of the libraries that write
the seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[2]
CAPS = {"pictures": 1 << 30, "streams": 1 << 30, "models": 2 << 30, "traps": 1 << 30}
"""Bytes that a worker may map beyond what it has mapped once its libraries are loaded."""
HEAVY = 128 << 20
SECONDS = 20
"""For one file, on a machine that others use as well; most take some milliseconds."""
_START_SECONDS = 120
_FILES_PER_WORKER = 2500


@dataclass
class Report:
    """What came of the files of one seed."""

    family: str
    seed: int
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: dict[int, str] = field(default_factory=dict)
    """Number of the file: its name and what happened."""
    heavy: dict[int, str] = field(default_factory=dict)
    """Number of a file that took more than HEAVY, or asked for more than the cap: its name."""
    slowest: float = 0.0
    """Seconds of one file."""
    largest: int = 0
    """Bytes by which one file raised a worker's memory, at most."""
    seconds: float = 0.0

    def add(self, number: int, found: dict[str, Any]) -> None:
        """Count one file."""
        self.outcomes[found["outcome"]] += 1
        self.slowest = max(self.slowest, found.get("seconds", 0))
        self.largest = max(self.largest, found.get("grown", 0))
        if found["outcome"] == "finding":
            self.findings[number] = f"{found['name']}: {found['what']}"
        elif found["outcome"] == "no memory" or found.get("grown", 0) > HEAVY:
            self.heavy[number] = f"{found['name']}, {found['outcome']}, {found['grown'] >> 20} MiB"

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {outcome}" for outcome, count in self.outcomes.most_common())
        lines = [
            f"{self.family}, seed {self.seed}: {counts}; {self.seconds:.0f} s, slowest file "
            f"{self.slowest:.2f} s, largest {self.largest / 2**20:.0f} MiB",
            *(f"  file {number}: {said}" for number, said in self.findings.items()),
        ]
        return "\n".join(lines)


def run(family: str, seed: int, count: int, first: int = 0) -> Report:
    """Judge `count` files of `family`, one worker after the other."""
    report, started, number = Report(family, seed), time.monotonic(), first
    while number < first + count:
        part = min(_FILES_PER_WORKER, first + count - number)
        number = _run_worker(report, number, part)
    report.seconds = time.monotonic() - started
    return report


def _run_worker(report: Report, first: int, count: int) -> int:
    """Judge up to `count` files; returns the number to go on with."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        words = (report.family, report.seed, first, count, folder, CAPS[report.family])
        process = subprocess.Popen(
            [sys.executable, "-m", "fuzz.worker", *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
            text=True,
        )
        assert process.stdout is not None
        lines: queue.Queue[str] = queue.Queue()
        listener = threading.Thread(target=_listen, args=(process.stdout, lines), daemon=True)
        listener.start()
        try:
            return _follow(report, process, lines, first, first + count)
        finally:
            process.kill()
            process.wait()
            listener.join()
            process.stdout.close()
            if process.stderr is not None:
                process.stderr.close()


def _environment() -> dict[str, str]:
    folders = os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "train", ROOT / "export")))
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    # What is read before it was written is then the same, and wrong, each time (glibc).
    one["MALLOC_PERTURB_"] = "165"
    return {**os.environ, **one, "PYTHONPATH": folders, "PYTHONFAULTHANDLER": ""}


def _listen(stream: IO[str], lines: queue.Queue[str]) -> None:
    for line in stream:
        lines.put(line)
    lines.put("")


def _follow(
    report: Report,
    process: subprocess.Popen[str],
    lines: queue.Queue[str],
    number: int,
    last: int,
) -> int:
    patience = _START_SECONDS
    while number < last:
        try:
            line = lines.get(timeout=patience)
        except queue.Empty:
            line = ""
            said = f"still reading after {patience} s"
        else:
            said = ""
        word, _, rest = line.partition(" ")
        patience = SECONDS if word == "begin" else _START_SECONDS
        if word == "end":
            report.add(number, json.loads(rest.partition(" ")[2]))
            number += 1
        elif not line:
            said = said or f"brings the process down ({_end_of(process)})"
            name = _name(report, number)
            report.add(number, {"outcome": "finding", "name": name, "what": said})
            return number + 1
    return number


def _end_of(process: subprocess.Popen[str]) -> str:
    process.wait(_START_SECONDS)
    said = process.stderr.read()[-300:] if process.stderr is not None else ""
    return f"exit status {process.returncode} {said}".strip()


def _name(report: Report, number: int) -> str:
    from fuzz.judging import FAMILIES

    return FAMILIES[report.family].make(report.seed, number)[0]


def main() -> int:
    """Run a campaign, or make one of its files again; 1 where there are findings."""
    parser = argparse.ArgumentParser(prog="fuzz.campaign")
    parser.add_argument("family", choices=sorted(CAPS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--make", type=int, metavar="NUMBER")
    parser.add_argument("--into", type=Path, default=Path())
    asked = parser.parse_args()
    if asked.make is not None:
        from fuzz.judging import FAMILIES

        name, content = FAMILIES[asked.family].make(asked.seed, asked.make)
        (asked.into / name).write_bytes(content)
        print(asked.into / name)  # noqa: T201
        return 0
    report = run(asked.family, asked.seed, asked.count, asked.first)
    print(report)  # noqa: T201
    for number, name in report.heavy.items():
        print(f"  heavy file {number}: {name}")  # noqa: T201
    return bool(report.findings)


if __name__ == "__main__":
    sys.exit(main())
