"""The model card inside the ONNX file.

`models/<name>/model.onnx` says everything about itself: input `micrograph` (uint8
[N, H, W, 3]), outputs `classes` and `confidence` (uint8 [N, H, W]), and the card, JSON
under the metadata key `hptl_deploy`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hptl_deploy.errors import InputError, ModelError
from hptl_deploy.files import sha256_file
from hptl_deploy.phases import Phase, phases_from_json
from hptl_deploy.probe import Probe

if TYPE_CHECKING:
    import onnx

CARD_KEY = "hptl_deploy"
CARD_SCHEMA = 1
INPUT = "micrograph"
OUTPUTS = ("classes", "confidence")
MODEL_FILE = "model.onnx"
PRECISIONS = ("fp32", "fp16", "int8")
MODEL_FILES = {"fp32": MODEL_FILE, "fp16": "model.fp16.onnx", "int8": "model.int8.onnx"}
"""What a model folder calls its file of each precision."""
INT8_TARGETS = ("cpu", "tensorrt")
"""What an int8 model is written for: the forms that run fastest differ."""


@dataclass(frozen=True)
class LineageStep:
    """One step of the chain that made the weights."""

    step: str
    network: str
    start: str
    """`random`, or the step whose parameters came along."""
    transferred: int
    """Parameters (numbers, not tensors) copied from the step before."""
    iterations: int
    data: str
    """Name and SHA-256 of what it learned from."""
    losses: dict[str, float]
    """Final mean cross-entropy per labelled pixel (per picture in step 1), nats."""
    seconds: float | None = None
    """Training time."""


@dataclass(frozen=True)
class ModelCard:
    """What a model is, where it comes from, and how it must be fed."""

    name: str
    network: str
    channels: tuple[int, ...]
    """The five trunk widths."""
    fc: int
    """Channels of fc6 and fc7."""
    phases: tuple[Phase, ...]
    input_scale: int
    """How much the graph enlarges its input, 1 to 4."""
    stride: int
    """H and W must be multiples of this; micrograph pixels."""
    halo: int
    """Pixels round a core that its classes may depend on; micrograph pixels, a multiple of
    the stride."""
    bytes_per_pixel: float
    """Peak memory per micrograph pixel, measured at export (this file, ONNX Runtime, CPU)."""
    pixel_size_um: float | None
    """Of the micrographs it was trained on; None where unknown."""
    synthetic: bool = False
    """True where its data set says that every micrograph in it is synthetic."""
    precision: str = "fp32"
    lineage: tuple[LineageStep, ...] = ()
    validation: dict[str, Any] = field(default_factory=dict)
    """Scores of the final network on the data set's validation split."""
    training: dict[str, Any] = field(default_factory=dict)
    """`command`, `recipe`, `seed` and `data_origin`: what it takes to train it again."""
    checks: dict[str, Any] = field(default_factory=dict)
    """What export measured before it published the file."""
    weights_licence: str = "not stated"
    data_licence: str = "not stated"
    made_with: dict[str, str] = field(default_factory=dict)
    """Versions of what trained and exported it."""
    quantised_for: str | None = None
    """Of an int8 model: which of INT8_TARGETS its form is for."""
    probe: Probe | None = None
    """Of an int8 model: what a machine must reproduce before its results are trusted."""

    def to_json(self) -> str:
        """The JSON text stored in the ONNX file."""
        document: dict[str, Any] = {
            "schema": CARD_SCHEMA,
            "name": self.name,
            "network": self.network,
            "width": {"channels": list(self.channels), "fc": self.fc},
            "phases": [phase.to_json() for phase in self.phases],
            "input_scale": self.input_scale,
            "stride": self.stride,
            "halo": self.halo,
            "bytes_per_pixel": self.bytes_per_pixel,
            "pixel_size_um": self.pixel_size_um,
            "synthetic": self.synthetic,
            "precision": self.precision,
            "lineage": [vars(step) for step in self.lineage],
            "validation": self.validation,
            "training": self.training,
            "checks": self.checks,
            "licence": {"weights": self.weights_licence, "data": self.data_licence},
            "made_with": self.made_with,
        }
        if self.quantised_for is not None:
            document["quantised_for"] = self.quantised_for
        if self.probe is not None:
            document["probe"] = self.probe.to_json()
        return json.dumps(document, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, where: str) -> ModelCard:
        """Read a card; `where` names the file in messages.

        Raises ModelError when it is not JSON, of another schema, or lacks or misstates a field.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise ModelError(f"{where}: its model card is not JSON ({exc})") from exc
        if not isinstance(document, dict) or document.get("schema") != CARD_SCHEMA:
            found = document.get("schema") if isinstance(document, dict) else document
            raise ModelError(
                f"{where}: expected a model card of schema {CARD_SCHEMA}, found {found!r}",
                hint="Export the model again with this version",
            )
        try:
            card = cls._from_document(document, where)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as exc:
            raise ModelError(
                f"{where}: its model card lacks or misstates a field ({exc!r})",
                hint="Export the model again",
            ) from exc
        except InputError as exc:
            raise ModelError(exc.message, hint="Export the model again") from exc
        card._check(where)
        return card

    @classmethod
    def _from_document(cls, document: dict[str, Any], where: str) -> ModelCard:
        size = document["pixel_size_um"]
        return cls(
            name=str(document["name"]),
            network=str(document["network"]),
            channels=tuple(int(value) for value in document["width"]["channels"]),
            fc=int(document["width"]["fc"]),
            phases=phases_from_json(document["phases"], where),
            input_scale=int(document["input_scale"]),
            stride=int(document["stride"]),
            halo=int(document["halo"]),
            bytes_per_pixel=float(document["bytes_per_pixel"]),
            pixel_size_um=None if size is None else float(size),
            synthetic=document.get("synthetic", False),
            precision=str(document["precision"]),
            lineage=tuple(LineageStep(**step) for step in document["lineage"]),
            validation=dict(document["validation"]),
            training=dict(document.get("training", {})),
            checks=dict(document.get("checks", {})),
            weights_licence=str(document["licence"]["weights"]),
            data_licence=str(document["licence"]["data"]),
            made_with=dict(document.get("made_with", {})),
            quantised_for=document.get("quantised_for"),
            probe=Probe.from_json(document["probe"]) if document.get("probe") else None,
        )

    def _check(self, where: str) -> None:
        problems = []
        if self.input_scale not in (1, 2, 3, 4):
            problems.append(f"input_scale {self.input_scale} is not 1, 2, 3 or 4")
        if not 1 <= self.stride <= 1024:
            problems.append(f"stride {self.stride} is not 1 to 1024")
        elif not 0 <= self.halo <= 8192 or self.halo % self.stride:
            problems.append(f"halo {self.halo} is not a multiple of the stride, 0 to 8192")
        if not 0 < self.bytes_per_pixel < 1e6:
            problems.append(f"bytes_per_pixel {self.bytes_per_pixel} is not plausible")
        if self.precision not in PRECISIONS:
            problems.append(f"precision {self.precision!r} is not fp32, fp16 or int8")
        if len(self.channels) != 5 or min(*self.channels, self.fc) < 1:
            problems.append(f"width {list(self.channels)}, fc {self.fc} is not 5 channels and fc")
        if self.pixel_size_um is not None and not 0 < self.pixel_size_um < 1000:
            problems.append(f"pixel_size_um {self.pixel_size_um} is not plausible")
        if self.synthetic not in (True, False):
            problems.append(f"synthetic {self.synthetic!r} is not true or false")
        if self.quantised_for not in (None, *INT8_TARGETS):
            problems.append(f"quantised_for {self.quantised_for!r} is not cpu or tensorrt")
        probe = self.probe
        if probe and self.stride > 0 and (probe.height % self.stride or probe.width % self.stride):
            problems.append(
                f"a probe of {probe.height} x {probe.width} px is none of stride {self.stride}"
            )
        if problems:
            raise ModelError(
                f"{where}: its model card cannot be right: {'; '.join(problems)}",
                hint="Export the model again",
            )


@dataclass(frozen=True)
class Model:
    """A model file whose card has been read."""

    path: Path
    card: ModelCard
    sha256: str


def load_model(path: Path) -> Model:
    """Read the card of an ONNX file and check that its inputs and outputs keep the contract.

    Nothing of the graph is run. Raises ModelError.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        proto = onnx.load(str(path), format="protobuf", load_external_data=False)
        digest = sha256_file(path)
    except OSError as exc:
        raise ModelError(f"{path}: cannot be read ({exc.strerror})") from exc
    except (DecodeError, ValueError) as exc:
        raise ModelError(
            f"{path}: is not a whole ONNX file", hint="Copy or export it again"
        ) from exc
    text = {entry.key: entry.value for entry in proto.metadata_props}.get(CARD_KEY)
    if text is None:
        raise ModelError(
            f"{path}: carries no model card (ONNX metadata `{CARD_KEY}`)",
            hint="Only models written by `hptl-deploy export` can be used",
        )
    card = ModelCard.from_json(text, str(path))
    _check_graph(proto.graph, path)
    return Model(path, card, digest)


def _check_graph(graph: onnx.GraphProto, path: Path) -> None:
    """Inputs, outputs, and that the file says everything; raises ModelError."""
    from hptl_deploy.onnx_graphs import external_files, interface

    expected_in = [(INPUT, "uint8", 4)]
    expected_out = [(name, "uint8", 3) for name in OUTPUTS]
    found_in, found_out = interface(graph.input), interface(graph.output)
    if found_in != expected_in or found_out != expected_out:
        raise ModelError(
            f"{path}: expected input {INPUT} (uint8, rank 4) and outputs {' and '.join(OUTPUTS)} "
            f"(uint8, rank 3), found inputs {_listed(found_in)} and outputs {_listed(found_out)}",
            hint="Export the model again with this version",
        )
    if outside := sorted(external_files(graph)):
        raise ModelError(
            f"{path}: keeps weights outside the file ({', '.join(outside)}); expected one file "
            "that holds everything",
            hint="Export the model again with this version",
        )


def _listed(values: list[tuple[str, str, int]]) -> str:
    return ", ".join(f"{name} ({kind}, rank {rank})" for name, kind, rank in values) or "none"
