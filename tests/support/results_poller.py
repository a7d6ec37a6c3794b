"""A process of its own that reads every result it sees, as a user's program might.

    python results_poller.py ROOT RIGHT REPORT

It looks into every folder below ROOT until REPORT's folder holds `over`, and then writes REPORT:
how much it has read, and what was not whole. RIGHT is an unbroken run's results.
"""

from __future__ import annotations

import csv
import io
import json
import sys
import time
from collections import Counter
from pathlib import Path

import tifffile
from PIL import Image

_READ = {".tif", ".jpg", ".csv", ".json", ".parquet", ".xlsx"}


class Poller:
    """What has been read so far."""

    def __init__(self, right: Path) -> None:
        self._right = {path.name: path.read_bytes() for path in right.iterdir() if path.is_file()}
        self._seen: dict[Path, tuple[int, int]] = {}
        self.read: Counter[str] = Counter()
        self.problems: list[str] = []

    def look(self, folder: Path) -> None:
        """Read what is new in `folder`."""
        for path in folder.iterdir():
            if path.name.startswith(".") or path.suffix not in _READ:
                continue
            try:
                state = path.stat()
                stamp = (state.st_mtime_ns, state.st_ino)
                if self._seen.get(path) == stamp:
                    continue
                self._check(path, path.read_bytes())
            except FileNotFoundError:
                continue
            except Exception as exc:
                self.problems.append(f"{path}: {type(exc).__name__}: {exc}")
            self._seen[path] = stamp
            self.read[path.suffix] += 1

    def _check(self, path: Path, content: bytes) -> None:
        if path.suffix == ".json":
            assert json.loads(content)["state"] in {"running", "interrupted", "finished"}
        elif path.name in ("fields.csv", "failures.csv"):
            assert content.endswith(b"\n")
            for row in csv.DictReader(io.StringIO(content.decode("utf-8"))):
                assert None not in row
                assert None not in row.values()
                assert (path.parent / row["classes_file"]).exists()
        else:
            if path.suffix == ".tif":
                tifffile.imread(io.BytesIO(content))
            elif path.suffix == ".jpg":
                Image.open(io.BytesIO(content)).load()
            # Tables over all fields, too, are of nothing less: killed runs leave none.
            assert content == self._right[path.name], "is not the unbroken run's"


def main(root: Path, right: Path, report: Path) -> None:
    """Look until the word comes that all is over, and once more."""
    poller, over = Poller(right), False
    while not over:
        over = (report.parent / "over").exists()
        for folder in sorted(root.iterdir()):
            if folder.is_dir():
                poller.look(folder)
        time.sleep(0.005)
    document = {"read": dict(poller.read), "problems": poller.problems}
    report.write_text(json.dumps(document), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
