"""Damaged micrographs, read by another process: it has to outlive them, and to stay small."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

LARGEST_GROWTH_MIB = 256
"""Of the memory that reading pictures of a few kilobytes may take."""


_ENDS = 3000
"""Bytes at the beginning and the end of a file, where it says what it holds."""


def mutated(content: bytes, number: int) -> bytes:
    """`content` with a few bytes changed, most of them near its ends, and sometimes cut short."""
    chance = random.Random(number)
    changed = bytearray(content)
    for _ in range(chance.choice((1, 2, 8))):
        at = chance.randrange(len(changed))
        if chance.random() < 0.7:
            near = chance.randrange(min(_ENDS, len(changed)))
            at = chance.choice((near, len(changed) - 1 - near))
        # Numbers are written in digits in some files.
        changed[at] = chance.choice((0, 1, 4, 127, 255, *b"09", chance.randrange(256)))
    return bytes(changed[: None if chance.random() < 0.8 else chance.randrange(len(changed))])


def read_all(files: Sequence[Path], folder: Path, count: int) -> int:
    """Open and read so many damaged variants; of them, how many could be read.

    Of a micrograph of several files one is damaged, each in turn. Anything but MicrographError
    passes on.
    """
    from hptl_deploy.errors import MicrographError
    from hptl_deploy.micrographs import open_micrograph

    read = 0
    for number in range(count):
        source = files[number % len(files)]
        path = folder / f"damaged{source.suffix}"
        _write_damaged(source, path, number, number // len(files))
        try:
            with open_micrograph(path) as micrograph:
                for page in micrograph.pages:
                    page.read()
            read += 1
        except MicrographError:
            pass
    return read


def _write_damaged(source: Path, path: Path, number: int, turn: int) -> None:
    from hptl_deploy.micrographs.companions import companions, pixel_folder

    beside, inside = pixel_folder(source), pixel_folder(path)
    shutil.rmtree(inside, ignore_errors=True)
    targets = {
        source: path,
        **{file: inside / file.relative_to(beside) for file in companions(source)},
    }
    for place, (file, target) in enumerate(targets.items()):
        content = file.read_bytes()
        target.parent.mkdir(parents=True, exist_ok=True)
        hit = place == turn % len(targets)
        target.write_bytes(mutated(content, number) if hit else content)


def outlives(files: Sequence[Path], folder: Path, count: int) -> int:
    """Let another process do that; of the variants, how many it could read.

    Asserts that it ends by itself, says nothing else, and stays small.
    """
    done = subprocess.run(
        [sys.executable, __file__, str(folder), str(count), *map(str, files)],
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr[-2000:]
    read, grown_mib = map(int, done.stdout.split())
    assert grown_mib < LARGEST_GROWTH_MIB
    return read


def _main(folder: str, count: str, *files: str) -> None:
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
    paths = [Path(file) for file in files]
    from hptl_deploy.micrographs import open_micrograph

    for path in paths:  # so that what is imported is no growth
        with open_micrograph(path) as micrograph:
            micrograph.pages[0].read()
    before = _peak_mib()
    read = read_all(paths, Path(folder), int(count))
    sys.stdout.write(f"{read} {_peak_mib() - before}")


def _peak_mib() -> int:
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    _main(*sys.argv[1:])
