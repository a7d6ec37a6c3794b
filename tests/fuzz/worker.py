"""The process that reads damaged files, so that what brings it down is only itself.

    python -m fuzz.worker FAMILY SEED FIRST COUNT FOLDER CAP

It says `begin NUMBER` before each file and `end NUMBER OUTCOME` behind it, OUTCOME as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

from fuzz.judging import FAMILIES

_NOISE = "noise"


def cap_memory(extra: int) -> int:
    """Let this process map `extra` bytes beyond what it has mapped; returns the limit in bytes."""
    import resource

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + extra
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return limit


def _peak() -> int:
    """Bytes of memory that this process has held at most."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def judged(family: str, path: Path) -> dict[str, Any]:
    """The outcome of one file; an error that should not have come out is a finding."""
    started = time.monotonic()
    try:
        found: dict[str, Any] = {"outcome": FAMILIES[family].judge(path)}
    except BaseException as exc:
        frames = traceback.extract_tb(exc.__traceback__)
        where = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in frames[:-4:-1])
        found = {"outcome": "finding", "what": f"{type(exc).__name__}: {str(exc)[:400]} ({where})"}
    return {**found, "seconds": round(time.monotonic() - started, 3)}


def main(family: str, seed: int, first: int, count: int, folder: Path, cap: int) -> None:
    """Judge `count` files from number `first` on."""
    # What libraries print from C is noise that no user should see: it is a finding.
    say = os.fdopen(os.dup(1), "w", encoding="utf-8")
    noise = (folder / _NOISE).open("wb")
    os.dup2(noise.fileno(), 1)
    os.dup2(noise.fileno(), 2)
    warnings.simplefilter("error")
    for number in (-2, -1):  # imports what is imported late
        name, content = FAMILIES[family].make(seed, number)
        path = folder / f"x{''.join(Path(name).suffixes)}"
        path.write_bytes(content)
        judged(family, path)
    print("limit", cap_memory(cap), file=say, flush=True)
    for number in range(first, first + count):
        name, content = FAMILIES[family].make(seed, number)
        path = folder / f"x{''.join(Path(name).suffixes)}"
        path.write_bytes(content)
        print("begin", number, file=say, flush=True)
        printed, held = noise.tell(), _peak()
        found = {"name": name, **judged(family, path), "grown": _peak() - held}
        if os.fstat(noise.fileno()).st_size > printed and found["outcome"] != "finding":
            text = (folder / _NOISE).read_bytes()[printed : printed + 200]
            found |= {"outcome": "finding", "what": f"prints {text!r}"}
        noise.seek(0, os.SEEK_END)
        print("end", number, json.dumps(found), file=say, flush=True)


if __name__ == "__main__":
    _family, *_numbers, _folder, _cap = sys.argv[1:]
    _seed, _first, _count = map(int, _numbers)
    main(_family, _seed, _first, _count, Path(_folder), int(_cap))
