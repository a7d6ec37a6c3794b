"""Training statistics in a card: small, whole, and never more than they say."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hptl_deploy.errors import ModelError
from hptl_deploy.model import ModelCard
from hptl_deploy.phases import PAPER_PHASES
from hptl_deploy.quality.features import FEATURES
from hptl_deploy.quality.fitting import Observed, fit
from hptl_deploy.quality.statistics import LIMITS
from support.model_errors import sentence

RNG = np.random.default_rng(0)
STATISTICS = fit(
    FEATURES,
    [Observed(RNG.normal(0, 1, len(FEATURES)), dict.fromkeys(LIMITS, 0.5), 0.1) for _ in range(20)],
    [],
)
assert STATISTICS is not None
CARD = ModelCard(
    name="small", network="fcn8s", channels=(1, 1, 1, 1, 1), fc=1, phases=PAPER_PHASES,
    input_scale=4, stride=8, halo=72, bytes_per_pixel=10.0, pixel_size_um=None,
    training_statistics=STATISTICS,
)  # fmt: skip


def broken(**values: object) -> str:
    document: dict[str, Any] = json.loads(CARD.to_json())
    document["training_statistics"] = {**document["training_statistics"], **values}
    return json.dumps(document)


def test_they_come_back_as_they_were_and_take_a_few_kilobytes() -> None:
    card = ModelCard.from_json(CARD.to_json(), "m.onnx")
    assert card == CARD
    assert STATISTICS is not None
    assert len(json.dumps(STATISTICS.to_json())) < 4000


def test_a_card_of_before_there_were_statistics() -> None:
    bare = replace(CARD, training_statistics=None)
    assert "training_statistics" not in json.loads(bare.to_json())
    assert ModelCard.from_json(bare.to_json(), "m.onnx") == bare


def test_features_of_another_version_can_be_read() -> None:
    text = broken(features=["a"], centre=[0.0], whitening=[1.0])
    statistics = ModelCard.from_json(text, "m.onnx").training_statistics
    assert statistics is not None
    assert statistics.features == ("a",)


LACKS = "m.onnx: its model card lacks or misstates a field ("


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        (broken(frames="3"), LACKS + "`training_statistics.frames`: expected a whole number"),
        (broken(features="a"), LACKS + "`training_statistics.features`: expected a list, found"),
        (broken(features=[]), LACKS + "training statistics of [], expected 1 to 64 different"),
        (broken(features=["a", "a"]), LACKS + "training statistics of ['a', 'a'], expected 1 to"),
        (broken(features=[f"f{n}" for n in range(65)]),
         LACKS + "training statistics of a list of 65,"),
        (broken(features=["a", 3]), LACKS + "`training_statistics.features.1`: expected a text"),
        (broken(features=["a"], centre=[1]), LACKS + "training statistics with 1 means and "),
        (broken(centre=[True]), LACKS + "`training_statistics.centre.0`: expected a number"),
        (broken(whitening=[1.0] * 3), LACKS + f"training statistics with {len(FEATURES)} means "),
        (broken(whitening={}), LACKS + "`training_statistics.whitening`: expected a list"),
        (broken(distance=0), LACKS + "training statistics with distance 0.0, expected more"),
        (broken(distance=None), LACKS + "`training_statistics.distance`: expected a number"),
        (broken(limits=[]), LACKS + "`training_statistics.limits`: expected an object"),
        (broken(limits={"x": 1}), LACKS + "a limit of 'x', expected focus, "),
        (broken(limits={"focus": -1}), LACKS + "training statistics with limits.focus -1.0"),
        (broken(pixel_sizes_um=[1]), LACKS + "pixel_sizes_um [1.0], expected the smallest and"),
        (broken(pixel_sizes_um=[2, 1]), LACKS + "pixel_sizes_um [2.0, 1.0], expected"),
        (broken(pixel_sizes_um=[0, 1]), LACKS + "pixel_sizes_um [0.0, 1.0], expected"),
        (json.dumps({**json.loads(CARD.to_json()), "training_statistics": 1}),
         LACKS + "`training_statistics`: expected an object, found 1"),
    ],
    ids=lambda value: str(value)[-60:],
)  # fmt: skip
def test_statistics_that_cannot_be_right(text: str, begins: str) -> None:
    found = sentence(lambda: ModelCard.from_json(text, "m.onnx"))
    assert found.startswith(begins)
    assert len(found) < 400


VALUES: tuple[Any, ...] = (None, True, 0, -1, 1e18, 2**64, "", "x", [], [[]], [1], {}, {"a": 1})


def test_any_value_in_any_place_is_statistics_or_a_sentence() -> None:
    whole = json.loads(CARD.to_json())
    taken = 0
    for name, kept in whole["training_statistics"].items():
        for value in (*VALUES, *([[*kept[:-1], value] for value in VALUES]
                                 if isinstance(kept, list) else ())):  # fmt: skip
            try:
                card = ModelCard.from_json(broken(**{name: value}), "m.onnx")
            except ModelError as exc:
                assert str(exc).isprintable()
                continue
            assert ModelCard.from_json(card.to_json(), "m.onnx") == card
            assert card.training_statistics is not None
            if card.training_statistics.features == FEATURES:
                away = card.training_statistics.unlikeness(np.zeros(len(FEATURES)))
                assert away >= 0
            taken += 1
    assert taken > 10
