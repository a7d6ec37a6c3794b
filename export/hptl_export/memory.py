"""Bytes per pixel of a model on the CPU: measured in a process of its own, not estimated.

    python -m hptl_export.memory MODEL SIDE

prints the resident memory in bytes after one frame of SIDE x SIDE pixels. ONNX Runtime keeps what
the frame took, so that is all of it; the peak would be that of reading a large model's weights.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from hptl_deploy.errors import VerificationError
from hptl_export.effort import operations_per_pixel, side_of_look

_LEAST_SIDE, _LARGEST_SIDE = 768, 1536
"""Of the larger of two frames whose difference is divided, in pixels of the network's input; the
smaller has a third of it. What does not grow with the frame drops out."""


def bytes_per_pixel(path: Path, stride: int, input_scale: int) -> float:
    """Memory per micrograph pixel that the model at `path` takes with ONNX Runtime on the CPU.

    Raises VerificationError when the measurement fails.
    """
    side = side_of_look(
        operations_per_pixel(path, stride), stride, 1,
        _LEAST_SIDE // input_scale, _LARGEST_SIDE // input_scale,
    )  # fmt: skip
    sides = (max(stride, side // 3 // stride * stride), side)
    small, large = (_held_after(path, side) for side in sides)
    per_pixel = (large - small) / (sides[1] ** 2 - sides[0] ** 2)
    if per_pixel <= 0:
        raise VerificationError(
            f"the memory of {path.name} could not be measured: {large} bytes for {sides[1]} px, "
            f"{small} bytes for {sides[0]} px"
        )
    return per_pixel


def _held_after(path: Path, side: int) -> int:
    done = subprocess.run(
        [sys.executable, "-m", "hptl_export.memory", str(path), str(side)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        killed = "it was killed, probably for lack of memory"
        last = (done.stderr.strip().splitlines() or [killed])[-1]
        raise VerificationError(f"the memory of {path.name} could not be measured ({last})")
    return int(done.stdout)


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


def _measure(path: Path, side: int) -> int:
    import numpy as np
    import psutil

    from hptl_deploy.engines.onnxruntime import OnnxRuntimeEngine
    from hptl_deploy.model import load_model

    # Noise, so that no picture is special; its content does not change what is allocated.
    frame = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)
    with OnnxRuntimeEngine(load_model(path)) as engine:
        engine.infer(frame)
        return int(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    print(_measure(Path(sys.argv[1]), int(sys.argv[2])))
