"""The probe in the card: small, whole, and never more than it says."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hptl_deploy.model import CARD_SCHEMA, ModelCard
from hptl_deploy.phases import PAPER_PHASES
from hptl_deploy.probe import Probe
from support.model_errors import sentence

GREY = np.random.default_rng(0).normal(140, 12, (64, 64)).clip(0, 255).astype(np.uint8)
PROBE = Probe.of(np.repeat(GREY[..., None], 3, axis=2), (GREY > 140).astype(np.uint8))
CARD = ModelCard(
    name="small",
    network="fcn8s",
    channels=(1, 1, 1, 1, 1),
    fc=1,
    phases=PAPER_PHASES,
    input_scale=4,
    stride=8,
    halo=72,
    bytes_per_pixel=10.0,
    pixel_size_um=None,
    precision="int8",
    probe=PROBE,
)


def test_a_probe_comes_back_as_it_was_and_takes_a_few_kilobytes() -> None:
    card = ModelCard.from_json(CARD.to_json(), "m.onnx")
    assert card == CARD
    assert card.probe is not None
    assert np.array_equal(card.probe.frame[..., 1], GREY)
    assert card.probe.frame.flags.c_contiguous
    assert np.array_equal(card.probe.classes, GREY > 140)
    assert len(json.dumps(PROBE.to_json())) < 8000


def test_a_card_of_before_there_were_probes() -> None:
    bare = replace(CARD, precision="fp32", probe=None)
    text = bare.to_json()
    assert "probe" not in json.loads(text)
    assert json.loads(text)["schema"] == CARD_SCHEMA == 1
    assert ModelCard.from_json(text, "m.onnx") == bare


def packed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content)).decode()


def broken(**values: object) -> str:
    document: dict[str, Any] = json.loads(CARD.to_json())
    document["probe"] = {**document["probe"], **values}
    return json.dumps(document)


LACKS = "m.onnx: its model card lacks or misstates a field ("


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        (broken(height=0), LACKS + "a probe of 0 x 64 px, expected 1 to 256 a side)"),
        (broken(width=100000), LACKS + "a probe of 64 x 100000 px, expected"),
        (broken(height="x"), LACKS),
        (broken(pixels=3), LACKS),
        (broken(pixels="no base64"), LACKS),
        (broken(pixels=base64.b64encode(b"no zlib").decode()),
         LACKS + "a probe that cannot be unpacked"),
        (broken(classes=packed(b"short")), LACKS + "a probe with 5 bytes, expected 40"),
        # 100 MB of zeros pack into 100 kB; what is more than expected is not unpacked.
        (broken(classes=packed(bytes(100_000_000))),
         LACKS + "a probe with 4097 bytes, expected 4096)"),
        (broken(height=4, width=1024), LACKS),
        (json.dumps({**json.loads(CARD.to_json()), "probe": [1]}), LACKS),
        (json.dumps({**json.loads(CARD.to_json()), "stride": 24, "halo": 72}),
         "m.onnx: its model card cannot be right: a probe of 64 x 64 px is none of stride 24"),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_a_probe_that_cannot_be_right(text: str, begins: str) -> None:
    read: Callable[[], object] = lambda: ModelCard.from_json(text, "m.onnx")  # noqa: E731
    assert sentence(read).startswith(begins)
