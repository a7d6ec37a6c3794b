"""Who takes part: every backend of the ladder with every precision file of a model's folder."""

from __future__ import annotations

import itertools
import time
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hptl_deploy.closing import Closes
from hptl_deploy.engines import Engine, open_engine
from hptl_deploy.engines.ladder import BACKENDS, ON_CARD, ON_CPU
from hptl_deploy.errors import HptlError, UsageError
from hptl_deploy.model import MODEL_FILE, MODEL_FILES, Model, load_model
from hptl_deploy.segmentation.inference import classify
from hptl_deploy.segmentation.memory import plan_memory
from hptl_deploy.tiling import read_padded, regions_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from hptl_deploy.sink import Sink
    from hptl_deploy.tiling import FramePlan

FP16_ON_CPU = (
    "a CPU computes half precision in fp32, so nothing is gained there: the file is for cards"
)


@dataclass(frozen=True)
class Traits:
    """What is known of a contender before it runs."""

    backend: str
    device: str
    """`cpu` or `cuda:N`."""
    precision: str
    plan: FramePlan
    """How a frame goes through it."""
    planned_bytes: int | None = None
    """What a frame, or its largest tile, needs on a CPU as measured at export; None elsewhere."""
    versions: dict[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    tolerated_ppm: float | None = None
    """Pixels per million that may differ from the reference in something that claims to compute
    the same; None where a difference is its own affair."""

    @property
    def name(self) -> str:
        """In tables."""
        return f"{self.backend} {self.precision}"


@dataclass(frozen=True)
class Absent:
    """Who cannot run here."""

    backend: str
    precision: str
    reason: str


class Contender(Closes):
    """Something that turns a micrograph into a class map."""

    def __init__(self, traits: Traits) -> None:
        self.traits = traits

    @abstractmethod
    def classes(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Class indices [H, W] of a micrograph uint8 [H, W, 3]. Raises EngineError."""

    def stages(self) -> dict[str, float]:
        """Milliseconds of each stage of the last frame; empty where they are not told apart."""
        return {}

    def streamed(self, pictures: Sequence[NDArray[np.uint8]], count: int) -> float | None:
        """Frames per second of `count` frames with several in flight, host memory to host memory.

        None for who takes one at a time. Raises EngineError.
        """
        return None


class EngineContender(Contender):
    """An engine, fed as `segment` feeds it."""

    def __init__(self, engine: Engine, height: int, width: int) -> None:
        """Takes over `engine`. Raises MicrographError where not even a tile fits the memory."""
        capacity = engine.capacity
        plan = plan_memory(engine.info.device).plan(height, width, capacity, None)
        rows, columns = plan.largest_read
        on_cpu = engine.info.device == "cpu"
        super().__init__(
            Traits(
                backend=engine.info.backend,
                device=engine.info.device,
                precision=engine.info.precision,
                plan=plan,
                planned_bytes=int(rows * columns * capacity.bytes_per_pixel) if on_cpu else None,
                versions=engine.info.versions,
                remarks=engine.info.remarks,
            )
        )
        self.engine = engine

    def classes(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """As `Contender.classes`."""
        return classify(self.engine, pixels, self.traits.plan)[0]

    def stages(self) -> dict[str, float]:
        """Of a whole frame through TensorRT: `copy_in`, `compute`, `copy_out`."""
        from hptl_deploy.engines.tensorrt import TensorRTEngine

        whole = self.traits.plan.whole
        if not (whole and isinstance(self.engine, TensorRTEngine) and self.engine.times):
            return {}
        return dict(vars(self.engine.times))

    def streamed(self, pictures: Sequence[NDArray[np.uint8]], count: int) -> float | None:
        """As `Contender.streamed`, of an engine that takes whole frames on a card."""
        info, plan = self.engine.info, self.traits.plan
        if not plan.whole or (info.device == "cpu" and not info.owns_buffers):
            return None
        padded = [
            read_padded(regions_of(one), plan.padded, plan.height, plan.width)[None]
            for one in pictures
        ]
        batches = itertools.islice(itertools.cycle(padded), count)
        begun = time.perf_counter()
        answered = sum(1 for _ in self.engine.stream(batches))
        return answered / (time.perf_counter() - begun)

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()


def listed(absent: Iterable[Absent]) -> list[str]:
    """A sentence for every reason, with everybody that it keeps away."""
    kept: dict[str, dict[str, list[str]]] = {}
    for one in absent:
        kept.setdefault(one.reason, {}).setdefault(one.backend, []).append(one.precision)
    return [
        ", ".join(f"{name} {'/'.join(precisions)}" for name, precisions in names.items())
        + f": {reason}"
        for reason, names in kept.items()
    ]


def precision_files(model: Model) -> list[Model]:
    """The files of `model`'s folder, fp32 first; the one file where another one was named."""
    if model.path.name != MODEL_FILE:
        return [model]
    paths = [model.path.with_name(name) for name in MODEL_FILES.values()]
    return [load_model(path) for path in paths if path.is_file()]


def engine_contenders(
    model: Model, device: str, size: tuple[int, int], sink: Sink
) -> Iterator[Contender | Absent]:
    """Every engine for frames of `size` (height, width), opened one by one.

    `device` is `auto` (cards and CPU), `cpu`, `cuda` or `cuda:N`. Raises UsageError for another.
    """
    backends = {"auto": BACKENDS, "cpu": (ON_CPU,)}.get(device, ON_CARD)
    for file in precision_files(model):
        precision = file.card.precision
        for backend in backends:
            if backend == ON_CPU and precision == "fp16":
                yield Absent(backend, precision, FP16_ON_CPU)
                continue
            try:
                engine = open_engine(file, device, precision, backend, sink=sink)
            except UsageError:
                raise
            except HptlError as exc:
                yield Absent(backend, precision, _reason(exc, backend))
                continue
            try:
                contender = EngineContender(engine, *size)
            except HptlError as exc:
                engine.close()
                yield Absent(backend, precision, str(exc))
                continue
            yield contender


def _reason(error: HptlError, backend: str) -> str:
    """Without an option that nobody typed, and the advice to leave it out."""
    option = f"--backend {backend}: "
    if error.message.startswith(option):
        return error.message.removeprefix(option)
    return str(error)
