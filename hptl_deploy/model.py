"""The model card inside the ONNX file.

`models/<name>/model.onnx` says everything about itself: input `micrograph` (uint8
[N, H, W, 3]), outputs `classes` and `confidence` (uint8 [N, H, W]), and the card, JSON
under the metadata key `hptl_deploy`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hptl_deploy.card_fields import Fields, parsed
from hptl_deploy.channel_blocks import NARROW, WIDE, channel_block, growth
from hptl_deploy.errors import InputError, ModelError
from hptl_deploy.lineage import LineageStep
from hptl_deploy.phases import Phase, phases_from_json
from hptl_deploy.probe import Probe
from hptl_deploy.quality.statistics import TrainingStatistics
from hptl_deploy.wording import one_line, shown_value

CARD_KEY = "hptl_deploy"
CARD_SCHEMA = 1
LARGEST_CARD = 4 << 20
"""Characters. The confusion of 250 phases takes one million, the largest probe half of one."""
INPUT = "micrograph"
OUTPUTS = ("classes", "confidence")
MODEL_FILE = "model.onnx"
PRECISIONS = ("fp32", "fp16", "int8")
MODEL_FILES = {"fp32": MODEL_FILE, "fp16": "model.fp16.onnx", "int8": "model.int8.onnx"}
"""What a model folder calls its file of each precision."""
INT8_TARGETS = ("cpu", "tensorrt")
"""What an int8 model is written for: the forms that run fastest differ."""
REACHES = {
    "fcn32s": (261, 131, 88, 65),
    "fcn16s": (269, 135, 91, 67),
    "fcn8s": (273, 137, 92, 68),
}
"""Micrograph pixels that a network sees beyond its own, at input scales 1 to 4: what
`hptl_train.networks.reach` derives, which cannot be asked without torch (a test compares them)."""


_LONGEST_KEY, _LONGEST_PHASE = 100, 200
"""Characters of a phase's key and name: they become columns of tables."""


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
    channel_block: int = NARROW
    """Channels that ONNX Runtime kept together where that was measured; earlier versions, which do
    not say, measured on AVX2."""
    quantised_for: str | None = None
    """Of an int8 model: which of INT8_TARGETS its form is for."""
    derived_from: str | None = None
    """SHA-256 of the fp32 file that a file of another precision says the same as."""
    probe: Probe | None = None
    """What an engine on a card, and int8 anywhere, must reproduce before it is trusted."""
    training_statistics: TrainingStatistics | None = None
    """What its training micrographs are like; earlier versions do not say."""

    def bytes_per_pixel_here(self) -> float:
        """Memory per micrograph pixel with ONNX Runtime on this machine's CPU, at most."""
        if self.precision == "int8":  # its layers lie channel by channel, unfilled
            return self.bytes_per_pixel
        widths = (*self.channels, self.fc)
        return self.bytes_per_pixel * growth(widths, self.channel_block, channel_block())

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
        if self.channel_block != NARROW:
            document["channel_block"] = self.channel_block
        if self.quantised_for is not None:
            document["quantised_for"] = self.quantised_for
        if self.derived_from is not None:
            document["derived_from"] = self.derived_from
        if self.probe is not None:
            document["probe"] = self.probe.to_json()
        if self.training_statistics is not None:
            document["training_statistics"] = self.training_statistics.to_json()
        return json.dumps(document, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, where: str) -> ModelCard:
        """Read a card; `where` names the file in messages.

        Raises ModelError when it is not JSON, of another schema, or lacks or misstates a field.
        """
        again = "Export the model again"
        try:
            if len(text) > LARGEST_CARD:
                raise ValueError(f"{len(text)} characters, more than any card has")
            document = parsed(text)
        except ValueError as exc:
            raise ModelError(
                f"{where}: its model card is not JSON ({one_line(str(exc))})", hint=again
            ) from exc
        schema = document.get("schema") if isinstance(document, dict) else document
        if type(schema) is not int or schema != CARD_SCHEMA:
            raise ModelError(
                f"{where}: expected a model card of schema {CARD_SCHEMA}, found "
                f"{shown_value(schema)}",
                hint="Export the model again with this version",
            )
        try:
            card = cls._from_fields(Fields(document), where)
        except (KeyError, ValueError, TypeError, OverflowError) as exc:
            reason = f"no {exc}" if isinstance(exc, KeyError) else str(exc)
            raise ModelError(
                f"{where}: its model card lacks or misstates a field ({one_line(reason)})",
                hint=again,
            ) from exc
        except InputError as exc:
            raise ModelError(one_line(exc.message, len(where) + 200), hint=again) from exc
        card._check(where)
        return card

    @classmethod
    def _from_fields(cls, card: Fields, where: str) -> ModelCard:
        document, width, licence = card.plain(), card.inner("width"), card.inner("licence")
        return cls(
            name=card.text("name"),
            network=card.text("network"),
            channels=width.wholes("channels"),
            fc=width.whole("fc"),
            phases=phases_from_json(document["phases"], where),
            input_scale=card.whole("input_scale"),
            stride=card.whole("stride"),
            halo=card.whole("halo"),
            bytes_per_pixel=card.number("bytes_per_pixel"),
            pixel_size_um=None
            if document["pixel_size_um"] is None
            else card.number("pixel_size_um"),
            synthetic=card.flag("synthetic") if "synthetic" in document else False,
            precision=card.text("precision"),
            lineage=tuple(LineageStep.from_fields(step) for step in card.objects("lineage")),
            validation=_scores(card.inner("validation")),
            training=card.inner("training").plain() if "training" in document else {},
            checks=card.inner("checks").plain() if "checks" in document else {},
            weights_licence=licence.passage("weights"),
            data_licence=licence.passage("data"),
            made_with=card.inner("made_with").plain() if "made_with" in document else {},
            channel_block=card.whole("channel_block") if "channel_block" in document else NARROW,
            quantised_for=card.text("quantised_for") if card.has("quantised_for") else None,
            derived_from=card.text("derived_from") if card.has("derived_from") else None,
            probe=Probe.from_fields(card.inner("probe")) if card.has("probe") else None,
            training_statistics=TrainingStatistics.from_fields(card.inner("training_statistics"))
            if card.has("training_statistics")
            else None,
        )

    def _check(self, where: str) -> None:
        problems = [*self._wrong_numbers(), *self._wrong_words()]
        if problems:
            raise ModelError(
                f"{where}: its model card cannot be right: {'; '.join(problems)}",
                hint="Export the model again",
            )

    def _wrong_numbers(self) -> Iterator[str]:
        scale = self.input_scale
        if scale not in (1, 2, 3, 4):
            yield f"input_scale {scale} is not 1, 2, 3 or 4"
        elif self.network in REACHES and self.halo < REACHES[self.network][scale - 1]:
            yield (
                f"halo {self.halo} is less than the {REACHES[self.network][scale - 1]} px that "
                f"{self.network} sees round a pixel at input scale {scale}"
            )
        if not 1 <= self.stride <= 1024:
            yield f"stride {self.stride} is not 1 to 1024"
        elif not 0 <= self.halo <= 8192 or self.halo % self.stride:
            yield f"halo {self.halo} is not a multiple of the stride, 0 to 8192"
        if not 0 < self.bytes_per_pixel < 1e6:
            yield f"bytes_per_pixel {self.bytes_per_pixel} is not plausible"
        if self.channel_block not in (NARROW, WIDE):
            yield f"channel_block {self.channel_block} is not {NARROW} or {WIDE}"
        if len(self.channels) != 5 or not all(1 <= n <= 65536 for n in (*self.channels, self.fc)):
            yield f"width {shown_value(list(self.channels))}, fc {self.fc} is not 5 channels and fc"
        if self.pixel_size_um is not None and not 0 < self.pixel_size_um < 1000:
            yield f"pixel_size_um {self.pixel_size_um} is not plausible"
        probe = self.probe
        if probe and self.stride > 0 and (probe.height % self.stride or probe.width % self.stride):
            yield f"a probe of {probe.height} x {probe.width} px is none of stride {self.stride}"
        if probe and max(probe.indices) >= len(self.phases):
            yield f"a probe with class {max(probe.indices)} of {len(self.phases)} phases"

    def _wrong_words(self) -> Iterator[str]:
        if self.precision not in PRECISIONS:
            yield f"precision {shown_value(self.precision)} is not fp32, fp16 or int8"
        if self.quantised_for not in (None, *INT8_TARGETS):
            yield f"quantised_for {shown_value(self.quantised_for)} is not cpu or tensorrt"
        for phase in self.phases:
            if len(phase.key) > _LONGEST_KEY:
                yield f"phase key {shown_value(phase.key)} is longer than {_LONGEST_KEY}"
            if len(phase.name) > _LONGEST_PHASE or "\n" in phase.name or "\t" in phase.name:
                yield (
                    f"the name of phase {one_line(phase.key, 40)} is not one line of at most "
                    f"{_LONGEST_PHASE} characters"
                )


def _scores(validation: Fields) -> dict[str, Any]:
    """What a card says of the validation split; raises KeyError or ValueError."""
    if validation.has("phases"):
        for phase in validation.objects("phases"):
            phase.text("key")
    return validation.plain()


@dataclass(frozen=True)
class Model:
    """A model file whose card has been read."""

    path: Path
    card: ModelCard
    sha256: str


def load_model(path: Path) -> Model:
    """Read the card of an ONNX file and check that its graph is one that we would write.

    Nothing of the graph is run. Raises ModelError.
    """
    from hptl_deploy.model_file import read_model
    from hptl_deploy.onnx_graphs import check_graph, check_sizes

    proto, sha256 = read_model(path)
    cards = [entry.value for entry in proto.metadata_props if entry.key == CARD_KEY]
    if len(cards) != 1:
        raise ModelError(
            f"{path}: carries {len(cards) or 'no'} model card{'s' if cards else ''} (ONNX "
            f"metadata `{CARD_KEY}`)",
            hint="Only models written by `hptl-deploy export` can be used",
        )
    card = ModelCard.from_json(cards[0], str(path))
    check_graph(proto, str(path))
    check_sizes(proto, card.stride, str(path))
    return Model(path, card, sha256)
