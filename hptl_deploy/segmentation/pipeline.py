"""The stream of a run: read thread -> engine, in the caller's thread -> write thread.

    Reader.items --> [2 frames] --> infer --> [2 maps] --> Writer.take

Both queues are short, and `ByteGate` bounds the bytes between reading and writing, so that
a run's memory is known before it starts. An error of one input travels through the stream
as `Failed`; what a thread raises is the end of the run and is raised here.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from hptl_deploy.segmentation.inference import Inference
from hptl_deploy.segmentation.items import Clock, Failed, Frame, Job, reason
from hptl_deploy.segmentation.reading import Reader
from hptl_deploy.segmentation.stages import Stages
from hptl_deploy.segmentation.writing import Writer, Written

_DEPTH = 2


def run_stream(
    jobs: Sequence[Job],
    reader: Reader,
    writer: Writer,
    inference: Inference,
    clock: Clock,
    stop: threading.Event,
) -> None:
    """Work through `jobs`. Once `stop` is set, inputs that the engine has not begun are left.

    Raises what ended the run: ResultsError when the ledger cannot be written.
    """
    with Stages() as stages:
        stages.guard(reader.gate)
        frames = stages.source("read", lambda: reader.items(jobs), _DEPTH)
        solved = stages.sink("write", writer.take, _DEPTH)
        for item in frames:
            if not isinstance(item, Frame):
                solved.put(item)
                continue
            if stop.is_set() and item.page == 1:
                item.job.abandoned = True
            if item.job.abandoned:
                item.leave()
                continue
            solved.put(_answer(inference, item, clock))


def _answer(inference: Inference, frame: Frame, clock: Clock) -> Written:
    try:
        with clock.busy("infer"):
            return inference.solve(frame)
    except Exception as exc:
        # Whatever a backend raises on one micrograph, the next may go through.
        frame.leave()
        return Failed(frame.job, "infer", reason(exc))
