"""What is put in its place is what was verified, or nothing is."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from hptl_deploy.errors import ModelError, VerificationError
from hptl_deploy.model import load_model
from hptl_export.drafting import put_in_place
from hptl_export.files import Draft, without_logits
from support.exported import Exported
from support.sinks import Recorder


@pytest.fixture
def draft(exported4: Exported, tmp_path: Path) -> Draft:
    return Draft(without_logits(exported4.shown), tmp_path / "draft.onnx")


def test_the_file_and_what_is_said_of_it(draft: Draft, exported4: Exported, tmp_path: Path) -> None:
    final = tmp_path / "models" / "model.onnx"
    put = put_in_place(draft.put(exported4.model.card), final, Recorder().note)
    assert put == load_model(final)
    assert [path.name for path in final.parent.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_only_another_fp32_file_takes_the_others_away(
    draft: Draft, exported4: Exported, tmp_path: Path, precision: str
) -> None:
    other = tmp_path / "models" / "model.int8.onnx"
    other.parent.mkdir()
    other.write_bytes(b"x")
    card = replace(exported4.model.card, precision=precision)
    put_in_place(draft.put(card), other.with_name("any.onnx"), Recorder().note)
    assert other.exists() == (precision == "fp16")


def test_a_file_that_changed_since_it_was_verified_is_not_published(
    draft: Draft, exported4: Exported, tmp_path: Path
) -> None:
    final = tmp_path / "models" / "model.onnx"
    verified = draft.put(exported4.model.card)
    draft.put(replace(exported4.model.card, name="another"))
    with pytest.raises(VerificationError, match="what was written is not what was verified"):
        put_in_place(verified, final, Recorder().note)
    assert not list(final.parent.iterdir())


def test_a_copy_that_is_not_the_file_is_not_published(
    draft: Draft, exported4: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = tmp_path / "models" / "model.onnx"
    final.parent.mkdir()
    final.write_bytes(b"of before")
    (tmp_path / "models" / "model.int8.onnx").write_bytes(b"its int8")
    monkeypatch.setattr(
        shutil, "copyfile", lambda source, to: to.write_bytes(source.read_bytes()[:-1])
    )
    with pytest.raises(VerificationError, match="what was written is not what was verified"):
        put_in_place(draft.put(exported4.model.card), final, Recorder().note)
    assert final.read_bytes() == b"of before"
    assert sorted(path.name for path in final.parent.iterdir()) == [
        "model.int8.onnx", "model.onnx",
    ]  # fmt: skip


def test_a_file_that_no_workstation_takes_is_not_published(
    draft: Draft, exported4: Exported, tmp_path: Path
) -> None:
    wrong = draft.put(replace(exported4.model.card, halo=1))
    with pytest.raises(ModelError, match="halo 1 is"):
        put_in_place(wrong, tmp_path / "models" / "model.onnx", Recorder().note)
    assert not (tmp_path / "models").exists()
