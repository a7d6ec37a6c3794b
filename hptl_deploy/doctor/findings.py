"""The facts about a machine: plain dictionaries, whose keys are those of the JSON document.

`trouble` is everywhere the sentence that says why something cannot be used, None where it can;
`hint` is what to do about it, where that is known.
"""

from __future__ import annotations

from typing import Any, TypedDict

SCHEMA = 2

INSTALL = {
    "cuda": 'pip install "hptl-deploy[cuda]"',
    "tensorrt": 'pip install "hptl-deploy[tensorrt]"',
    "tensorrt-rtx": 'pip install "hptl-deploy[tensorrt-rtx]"',
    "pycuda": 'pip install "hptl-deploy[pycuda]"',
    "cuda-python": "pip install cuda-python",
    "train": 'pip install "hptl-deploy[train]"',
    "czi": 'pip install "hptl-deploy[czi]"',
    "lif": 'pip install "hptl-deploy[lif]"',
    "nd2": 'pip install "hptl-deploy[nd2]"',
}
"""Every line there is, whether it would help here or not."""


class Trouble(TypedDict):
    """Why something cannot be used."""

    trouble: str | None
    hint: str | None


class EightBit(TypedDict):
    """Instructions for 8-bit products; None where the system does not tell."""

    avx2: bool | None
    avx512_vnni: bool | None
    avx_vnni: bool | None
    arm_dotprod: bool | None


class Processor(TypedDict):
    """The CPU."""

    name: str
    cores: int | None
    """Physical ones; ONNX Runtime starts a thread for each."""
    threads: int | None
    eight_bit: EightBit


class Memory(TypedDict):
    """The host's memory."""

    total_bytes: int
    free_bytes: int
    """What a process can still take: within its control group, too."""


class Host(Trouble):
    """The machine without its cards; None where it could not be asked."""

    system: str | None
    processor: Processor | None
    memory: Memory | None


class Library(Trouble):
    """A library that need not be there."""

    version: str | None
    """What is installed, whether it works or not."""


class CardFacts(TypedDict):
    """One NVIDIA card."""

    index: int
    """The N of `--device cuda:N`."""
    name: str
    capability: str
    total_bytes: int
    free_bytes: int | None
    """None where the card has no room even to be asked."""


class DriverFacts(Library):
    """The NVIDIA driver, and the cards that it shows."""

    cuda: str | None
    """The newest CUDA that it runs, such as `13.0`."""
    visible_devices: str | None
    """CUDA_VISIBLE_DEVICES, which can hide cards; None where it is not set."""
    hardware: bool | None
    """Whether the system sees a card of NVIDIA's, driver or not; None where it does not tell."""
    cards: list[CardFacts]


class FlavourFacts(Library):
    """One flavour of TensorRT."""

    builds: bool
    """Whether it makes a builder here."""
    builds_trouble: str | None
    serves: list[str] | None
    """Compute capabilities that it is made for, none where it is not made for this system; None
    where it takes the card that is there."""


class RuntimeFacts(Library):
    """ONNX Runtime, tried on the CPU with a model and a frame."""

    packages: list[str]
    """Distributions that bring it; more than one overwrite each other."""
    built_with: list[str]
    """Providers that it says it has, which is not that they load."""
    cuda: Trouble
    """Tried on the first card."""


class TrainingFacts(Library):
    """Training; `version` is torch's."""

    cuda: str | None
    """The CUDA that torch was built with; None for a build that knows the CPU alone."""
    missing: list[str]
    """Further distributions of the extra that are not installed."""


class BaseFacts(Trouble):
    """The libraries that the program cannot do without."""

    versions: dict[str, str]


class Program(TypedDict):
    """The program itself."""

    version: str
    python: str
    executable: str


class Findings(TypedDict):
    """Everything that was found."""

    schema: int
    program: Program
    host: Host
    libraries: BaseFacts
    driver: DriverFacts
    onnxruntime: RuntimeFacts
    tensorrt: dict[str, FlavourFacts]
    """By flavour: `tensorrt`, `tensorrt-rtx`."""
    device_memory: dict[str, Library]
    """By layer: `pycuda`, `cuda-python`."""
    training: TrainingFacts
    czi: Library
    lif: Library
    nd2: Library
    install: dict[str, str]
    """`INSTALL`."""


class Road(TypedDict):
    """What `segment` would do."""

    backend: str | None
    """None where nothing would run."""
    device: str | None
    sentences: list[str]
    """Step by step, why."""


class Verdict(TypedDict):
    """What the findings mean."""

    auto: Road
    """`--device auto`."""
    cuda: Road
    """`--device cuda`."""
    advice: list[str]
    """What would help here, each with its line."""


TITLES = {
    "host": "this machine",
    "libraries": "the program's own libraries",
    "driver": "the NVIDIA driver",
    "onnxruntime": "ONNX Runtime",
    "onnxruntime-cuda": "ONNX Runtime's CUDA provider",
    "tensorrt": "TensorRT",
    "tensorrt-rtx": "TensorRT for RTX",
    "pycuda": "pycuda",
    "cuda-python": "cuda-python",
    "training": "torch",
    "czi": "pylibCZIrw",
    "lif": "liffile",
    "nd2": "nd2",
}
"""By probe: its name in sentences."""
END = {"end": True}
"""A probe's last line."""
_PART = {"trouble": None, "hint": None}
_LIBRARY = {**_PART, "version": None}
_FLAVOUR = {**_LIBRARY, "builds": False, "builds_trouble": None, "serves": None}
EMPTY: dict[str, dict[str, Any]] = {
    "host": {**_PART, "system": None, "processor": None, "memory": None},
    "libraries": {**_PART, "versions": {}},
    "driver": {**_LIBRARY, "cuda": None, "visible_devices": None, "hardware": None, "cards": []},
    "onnxruntime": {**_LIBRARY, "packages": [], "built_with": []},
    "onnxruntime-cuda": _PART,
    "tensorrt": _FLAVOUR,
    "tensorrt-rtx": _FLAVOUR,
    "pycuda": _LIBRARY,
    "cuda-python": _LIBRARY,
    "training": {**_LIBRARY, "cuda": None, "missing": []},
    "czi": _LIBRARY,
    "lif": _LIBRARY,
    "nd2": _LIBRARY,
}
"""By probe: what is known before it answers, and where it does not."""
