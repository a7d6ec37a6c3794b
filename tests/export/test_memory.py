"""Memory measured in a process of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hptl_deploy.errors import VerificationError
from hptl_export.memory import bytes_per_pixel, held_after
from support.exported import Exported


def test_one_process_holds_more_after_a_larger_frame(exported4: Exported) -> None:
    # 4 + 4 channels of fp32 at scale 4 live together: 512 bytes a pixel, and more.
    small, large = held_after(exported4.model, [64, 512])
    assert large - small > 512 * (512**2 - 64**2) / 2


def test_a_process_that_fails_says_why(exported4: Exported, tmp_path: Path) -> None:
    gone = replace(exported4.model, path=tmp_path / "gone.onnx")
    with pytest.raises(VerificationError) as raised:
        bytes_per_pixel(gone, 1e5)
    text = str(raised.value)
    assert text.startswith("the memory of gone.onnx could not be measured (")
    assert "ONNX Runtime refuses it" in text


def test_memory_that_does_not_grow_was_not_measured(
    exported4: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hptl_export.memory.held_after", lambda model, sides: [7, 7])
    with pytest.raises(VerificationError, match="could not be measured: 7 bytes for"):
        bytes_per_pixel(exported4.model, 1e5)
