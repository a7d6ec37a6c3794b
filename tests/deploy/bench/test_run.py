from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hptl_deploy.bench import Frames, Result, bench, synthetic_frames
from hptl_deploy.bench.contenders import Absent, Contender, Traits
from hptl_deploy.bench.files import write_inputs
from hptl_deploy.engines.machine import count_cards
from hptl_deploy.errors import EngineError, EnvironmentLacks
from hptl_deploy.model import Model, load_model
from hptl_deploy.sink import Silent
from hptl_deploy.tiling import plan_frame
from support.sinks import Recorder
from support.threshold_model import write_threshold_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRAMES = synthetic_frames(90, 130)
PLAN = plan_frame(90, 130, stride=8, halo=0)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return load_model(write_threshold_model(tmp_path))


class ByNumpy(Contender):
    """The threshold model again, with `thresholds` of its own."""

    def __init__(self, thresholds: tuple[int, int], tolerated_ppm: float | None) -> None:
        super().__init__(Traits("numpy", "cpu", "fp32", PLAN, tolerated_ppm=tolerated_ppm))
        self._thresholds = thresholds
        self.closed = False

    def classes(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        wide = pixels.astype(np.int32)
        level = wide[..., 0] + 2 * wide[..., 1] + wide[..., 2]
        found: NDArray[np.uint8] = sum(
            (level < 4 * threshold).astype(np.uint8) for threshold in self._thresholds
        )  # type: ignore[assignment]
        return found

    def close(self) -> None:
        self.closed = True


def run(model: Model, *others: Contender | Absent, repeats: int = 3) -> Result:
    def source(*_: object) -> Iterator[Contender | Absent]:
        yield from others

    return bench(model, FRAMES, "cpu", repeats, Silent(), [source])


def test_everybody_is_measured_on_the_same_frames(model: Model) -> None:
    rival = ByNumpy((145, 85), tolerated_ppm=0)
    result = run(model, rival)
    assert [row.traits.name for row in result.rows] == ["onnxruntime-cpu fp32", "numpy fp32"]
    assert result.absent == ()
    assert rival.closed
    engine, numpy = result.rows
    assert [len(row.seconds) for row in result.rows] == [3, 3]
    assert numpy.classes_ppm == engine.classes_ppm == 0
    assert result.ratio(engine) == 1
    ratios = [a / b for a, b in zip(engine.seconds, numpy.seconds, strict=True)]
    assert result.ratio(numpy) == pytest.approx(statistics.median(ratios))
    # The one convolution of the threshold model: 3 products per pixel, filled up to 8.
    assert result.operations == 2 * 3 * 96 * 136
    (peak,) = result.peaks
    assert (peak.precision, peak.device) == ("fp32", "cpu")
    share = result.operations / statistics.median(engine.seconds) / peak.rate
    assert result.share_of_peak(engine) == pytest.approx(share)
    assert result.mpx_per_second(engine) == pytest.approx(
        1e-6 * 90 * 130 / statistics.median(engine.seconds)
    )
    assert engine.files is not None
    assert numpy.files is None


def test_a_difference_is_said_in_ppm(model: Model) -> None:
    row = run(model, ByNumpy((140, 85), tolerated_ppm=None)).rows[1]
    same, shifted = ByNumpy((145, 85), None), ByNumpy((140, 85), None)
    expected = np.mean([same.classes(p) != shifted.classes(p) for p in FRAMES.pictures])
    assert row.classes_ppm == pytest.approx(1e6 * expected)
    assert row.classes_ppm > 0


def test_a_stranger_is_not_timed(model: Model) -> None:
    rival = ByNumpy((140, 85), tolerated_ppm=20)
    result = run(model, rival)
    assert [row.traits.backend for row in result.rows] == ["onnxruntime-cpu"]
    (absent,) = result.absent
    assert (absent.backend, absent.precision) == ("numpy", "fp32")
    assert absent.reason.startswith("gives ")
    assert absent.reason.endswith(
        " ppm of the pixels another class than onnxruntime-cpu fp32 (at most 20 may tie), so it is "
        "another network and was not timed"
    )
    assert rival.closed


def test_who_fails_in_the_warm_up_is_absent_with_the_reason(model: Model) -> None:
    class Failing(ByNumpy):
        def classes(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
            raise EngineError("no room")

    rival = Failing((145, 85), None)
    result = run(model, rival, Absent("other", "fp16", "not today"))
    assert result.absent == (
        Absent("numpy", "fp32", "no room"),
        Absent("other", "fp16", "not today"),
    )
    assert rival.closed


def test_the_document_holds_every_time(model: Model) -> None:
    result = run(model, repeats=2)
    document = json.loads(json.dumps(result.to_json()))
    (engine,) = document["engines"]
    assert engine["seconds"] == list(result.rows[0].seconds)
    assert engine["median_seconds"] == statistics.median(engine["seconds"])
    assert engine["fastest_seconds"] == min(engine["seconds"])
    assert engine["whole_frame"] is True
    assert engine["largest_tile_px"] == [96, 136]
    assert engine["planned_bytes"] == 96 * 136 * 64
    assert engine["files"]["files"] == 3
    assert document["reference"] == "onnxruntime-cpu fp32"
    assert document["operations_per_frame"] == 2 * 3 * 96 * 136
    assert document["frames"] == {
        "what": "2 synthetic micrographs of 130 x 90 px",
        "height_px": 90,
        "width_px": 130,
        "count": 2,
    }
    assert document["model"]["sha256"] == model.sha256
    assert len(document["peaks"][0]["seconds"]) == 2
    assert document["machine"]["cores"] >= 1
    assert document["machine"]["processor"]
    assert {"python", "hptl_deploy", "numpy"} <= document["versions"].keys()


@pytest.mark.skipif(count_cards() > 0, reason="this machine has a card")
def test_nothing_that_runs_is_an_error_with_the_reasons(model: Model) -> None:
    with pytest.raises(EnvironmentLacks) as caught:
        bench(model, FRAMES, "cuda", 1, Silent())
    assert str(caught.value).startswith(
        f"{model.path}: nothing runs it on --device cuda (tensorrt fp32, tensorrt-rtx fp32, "
        "onnxruntime-cuda fp32: --device cuda: no NVIDIA card answers on this machine (no driver, "
        "or no card)"
    )


def test_files_that_fail_leave_the_times(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """A temporary folder on a disk that breaks, say; here an input that is none."""
    written = write_inputs

    def damaged(frames: Frames, folder: Path) -> Path:
        inputs = written(frames, folder)
        (inputs / "frame_2.tif").write_bytes(b"II*\0")
        return inputs

    monkeypatch.setattr("hptl_deploy.bench.run.write_inputs", damaged)
    sink = Recorder()
    (row,) = bench(model, FRAMES, "cpu", 2, sink).rows
    assert row.files is None
    assert len(row.seconds) == 2
    (note,) = (note for note in sink.notes if "file to file" in note)
    assert note.startswith("onnxruntime-cpu: frame_2.tif failed (")
    assert note.endswith("): the way from file to file is not measured")
