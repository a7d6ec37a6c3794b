from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from hptl_deploy.bench import synthetic_frames
from hptl_deploy.bench.contenders import (
    FP16_ON_CPU,
    Absent,
    EngineContender,
    engine_contenders,
    listed,
)
from hptl_deploy.engines.machine import count_cards
from hptl_deploy.errors import UsageError
from hptl_deploy.model import CARD_KEY, MODEL_FILES, Model, load_model
from hptl_deploy.sink import Silent
from support.host_executor import OnnxExecutor, ring_engine
from support.threshold_model import write_threshold_model

NO_CARD = "no NVIDIA card answers on this machine (no driver, or no card)"


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """fp32, and an fp16 file beside it."""
    path = write_threshold_model(tmp_path)
    proto = onnx.load(str(path))
    (entry,) = (entry for entry in proto.metadata_props if entry.key == CARD_KEY)
    entry.value = entry.value.replace('"precision": "fp32"', '"precision": "fp16"')
    onnx.save(proto, str(path.with_name(MODEL_FILES["fp16"])))
    return load_model(path)


def test_the_processor_runs_fp32_as_segment_would(model: Model) -> None:
    frames = synthetic_frames(90, 130)
    engine, half = engine_contenders(model, "cpu", frames.size, Silent())
    assert isinstance(engine, EngineContender)
    assert half == Absent("onnxruntime-cpu", "fp16", FP16_ON_CPU)
    with engine:
        traits = engine.traits
        assert traits.name == "onnxruntime-cpu fp32"
        assert traits.device == "cpu"
        assert traits.plan.whole
        # Filled up to the stride of 8, 64 bytes per pixel on the card.
        assert traits.planned_bytes == 96 * 136 * 64
        assert "onnxruntime" in traits.versions
        assert engine.stages() == {}
        for picture in frames.pictures:
            wide = picture.astype(np.float64)
            level = (wide[..., 0] + 2 * wide[..., 1] + wide[..., 2]) / 4
            expected = (level < 145).astype(np.uint8) + (level < 85)
            assert (engine.classes(picture) == expected).all()


def test_a_file_that_is_named_runs_alone(model: Model) -> None:
    half = load_model(model.path.with_name(MODEL_FILES["fp16"]))
    assert list(engine_contenders(half, "cpu", (64, 64), Silent())) == [
        Absent("onnxruntime-cpu", "fp16", FP16_ON_CPU)
    ]


def test_a_frame_beyond_the_memory_goes_in_tiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hptl_deploy.segmentation import memory

    path = write_threshold_model(tmp_path, smoothing=2, bytes_per_pixel=5000)
    # 4e7 x 0.7 x 0.75 = 2.1e7: 64 x 64 of these pixels, and a tile's halo is 24.
    monkeypatch.setattr(memory, "free_bytes", lambda: 40_000_000)
    (engine,) = engine_contenders(load_model(path), "cpu", (96, 128), Silent())
    assert isinstance(engine, EngineContender)
    with engine:
        plan = engine.traits.plan
        assert not plan.whole
        rows, columns = plan.largest_read
        assert engine.traits.planned_bytes == rows * columns * 5000 < 21_000_000


def test_a_frame_without_room_for_a_tile_is_said(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hptl_deploy.segmentation import memory

    monkeypatch.setattr(memory, "free_bytes", lambda: 1000)
    whole, _ = engine_contenders(model, "cpu", (96, 128), Silent())
    assert isinstance(whole, Absent)
    assert whole.reason == (
        "128 x 96 px cannot be cut into bands that fit: 0 MiB are planned for a band, 0 MiB for "
        "inference. Cut the micrograph into parts or use a machine with more memory"
    )


@pytest.mark.skipif(count_cards() > 0, reason="this machine has a card")
def test_what_needs_a_card_says_so_once(model: Model) -> None:
    found = [
        one
        for one in engine_contenders(model, "auto", (64, 64), Silent())
        if isinstance(one, Absent)
    ]
    names = "tensorrt fp32/fp16, tensorrt-rtx fp32/fp16, onnxruntime-cuda fp32/fp16"
    assert listed(found) == [f"{names}: {NO_CARD}", f"onnxruntime-cpu fp16: {FP16_ON_CPU}"]


def test_an_unknown_device(model: Model) -> None:
    with pytest.raises(UsageError) as caught:
        next(engine_contenders(model, "tpu", (64, 64), Silent()))
    assert str(caught.value) == "--device tpu: expected auto, cpu, cuda or cuda:N"


def test_a_stream_has_several_frames_in_flight(tmp_path: Path) -> None:
    """The ring of a card's engine, on host memory."""
    path = write_threshold_model(tmp_path)
    executor = OnnxExecutor(path)
    queued: list[int] = []
    executor.refuse = lambda slot: queued.append(slot.number)
    pictures = synthetic_frames(64, 96).pictures
    with EngineContender(ring_engine(path, executor=executor), 64, 96) as contender:
        rate = contender.streamed(pictures, 9)
    assert rate is not None
    assert rate > 0
    assert len(queued) == 9
    assert len(set(queued)) > 1
    with EngineContender(ring_engine(path), 300, 500) as tiled:
        assert tiled.streamed(pictures, 9) is None  # tiles are in flight already
