"""A model file in the making: written once, its card as often as it changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx

from hptl_deploy.files import sha256_file
from hptl_deploy.model import CARD_KEY, load_model
from hptl_export.files import Draft, without_logits
from support.exported import Exported


def test_a_card_changes_and_the_file_is_as_if_written_at_once(
    exported4: Exported, tmp_path: Path
) -> None:
    proto, card = without_logits(exported4.shown), exported4.model.card
    long = replace(card, checks={"said": "at length " * 100})
    draft = Draft(proto, tmp_path / "model.onnx")
    for now in (card, long, card):  # the last is the shorter one: nothing of the other may stay
        written = draft.put(now)
        assert written.path == tmp_path / "model.onnx"
        assert written.card == now
        assert written.sha256 == sha256_file(written.path)
        assert load_model(written.path) == written
        whole = onnx.ModelProto()
        whole.CopyFrom(proto)
        whole.metadata_props.add(key=CARD_KEY, value=now.to_json())
        assert written.path.read_bytes() == whole.SerializeToString()


def test_what_a_graph_says_of_itself_is_no_second_card(exported4: Exported, tmp_path: Path) -> None:
    proto = without_logits(exported4.shown)
    proto.metadata_props.add(key=CARD_KEY, value="of before")
    written = Draft(proto, tmp_path / "model.onnx").put(exported4.model.card)
    assert load_model(written.path).card == exported4.model.card
