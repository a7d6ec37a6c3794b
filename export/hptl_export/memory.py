"""Bytes per pixel of a model on the CPU: measured in a process of its own, not estimated.

    python -m hptl_export.memory MODEL SIDE SIDE < CARD

prints the resident memory in bytes after two frames of each SIDE x SIDE pixels, the smaller first.
ONNX Runtime keeps what the largest frame took, of which the second may need a piece more, and
gives back what a smaller one did before, so that is all of it; the peak would be that of reading
a large model's weights.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from hptl_deploy.errors import VerificationError
from hptl_deploy.model import Model, ModelCard
from hptl_export.effort import side_of_look

_LEAST_SIDE, _LARGEST_SIDE = 768, 1536
"""Of the larger of two frames whose difference is divided, in pixels of the network's input; the
smaller has a third of it. What does not grow with the frame drops out."""


def bytes_per_pixel(model: Model, per_pixel: float) -> float:
    """Memory per micrograph pixel that `model` takes with ONNX Runtime on the CPU.

    `per_pixel` is its operations. Raises VerificationError when the measurement fails.
    """
    path, stride, scale = model.path, model.card.stride, model.card.input_scale
    side = side_of_look(per_pixel, stride, 1, _LEAST_SIDE // scale, _LARGEST_SIDE // scale)
    sides = (max(stride, side // 3 // stride * stride), side)
    small, large = held_after(model, sides)
    found = (large - small) / (sides[1] ** 2 - sides[0] ** 2)
    if found <= 0:
        raise VerificationError(
            f"the memory of {path.name} could not be measured: {large} bytes for {sides[1]} px, "
            f"{small} bytes for {sides[0]} px"
        )
    return found


def held_after(model: Model, sides: Sequence[int]) -> list[int]:
    """Bytes that a process with nothing but `model` holds after square frames of each of `sides`.

    They ascend. Raises VerificationError when it fails.
    """
    path = model.path
    done = subprocess.run(
        [sys.executable, "-m", "hptl_export.memory", str(path), *map(str, sides)],
        # The card comes along, so that the process need not read the weights twice.
        input=model.card.to_json(),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode != 0:
        killed = "it was killed, probably for lack of memory"
        last = (done.stderr.strip().splitlines() or [killed])[-1]
        raise VerificationError(f"the memory of {path.name} could not be measured ({last})")
    return [int(line) for line in done.stdout.split()]


def peak_resident() -> int:
    """Most memory this process ever held, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # getrusage would also report what the parent held when it started this process.
        match = re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text(), re.MULTILINE)
        assert match is not None
        return int(match.group(1)) * 1024
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _measure(model: Model, sides: Sequence[int]) -> Iterator[int]:
    import numpy as np
    import psutil

    from hptl_deploy.engines.onnxruntime import OnnxRuntimeEngine

    with OnnxRuntimeEngine(model) as engine:
        for side in sides:
            # Noise, so that no picture is special; its content does not change what is allocated.
            frame = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)
            engine.infer(frame)
            engine.infer(frame)
            yield int(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    given = ModelCard.from_json(sys.stdin.buffer.read().decode("utf-8"), sys.argv[1])
    for held in _measure(Model(Path(sys.argv[1]), given, ""), [int(s) for s in sys.argv[2:]]):
        print(held)
