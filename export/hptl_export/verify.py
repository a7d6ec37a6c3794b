"""An exported file says what the network says, or it is not published."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch

from hptl_deploy.engines.onnxruntime import OnnxRuntimeEngine
from hptl_deploy.errors import VerificationError
from hptl_deploy.model import INPUT, Model
from hptl_export.graph import LOGITS
from hptl_export.halo import disagreement_beyond_halo, measured_reach
from hptl_export.thresholds import CLASSES_PPM_FP32, HALO_PPM_FP32, LOGITS_FP32
from hptl_train.networks import Segmenter
from hptl_train.networks.reach import reach

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Verification:
    """What was measured; every figure has passed its threshold."""

    logits: float
    """max |ONNX - torch| / max |torch|."""
    classes_ppm: float
    halo_ppm: float
    reach: int
    pixels: int
    """Pixels that logits and classes were compared on."""
    compared_on: str

    def to_json(self) -> dict[str, Any]:
        """For the card: figure and what it stands for."""
        return {
            "logits (max difference / max)": f"{self.logits:.1e}",
            "classes against torch": f"{self.classes_ppm:.2f} ppm of {self.pixels} px",
            "changes when all outside the halo does": f"{self.halo_ppm:.2f} ppm",
            "reach (derived and measured)": f"{self.reach} px",
            "compared on": self.compared_on,
        }


def verify(
    segmenter: Segmenter,
    model: Model,
    shown: onnx.ModelProto,
    frames: Sequence[NDArray[np.uint8]],
    compared_on: str,
) -> Verification:
    """Compare the model file with the network on `frames`, uint8 [H, W, 3] each.

    `shown` is the model's graph with its logits as an output. Heights and widths are
    multiples of the stride. Raises VerificationError naming the check that failed and by how
    much.
    """
    card = model.card
    found = _check_reach(segmenter.network.kind, card.input_scale, card.halo)
    worst_logits = _compare_logits(segmenter, shown, frames)
    with OnnxRuntimeEngine(model) as engine:
        different = sum(
            int((engine.infer(frame[None]).classes != _classes(segmenter, frame)).sum())
            for frame in frames
        )
        pixels = sum(frame.shape[0] * frame.shape[1] for frame in frames)
        changed, compared = _beyond_halo(engine, frames, card.halo, card.stride)
    result = Verification(
        logits=worst_logits,
        classes_ppm=1e6 * different / pixels,
        halo_ppm=1e6 * changed / compared,
        reach=found,
        pixels=pixels,
        compared_on=compared_on,
    )
    _require("logits", result.logits, LOGITS_FP32, "of the largest logit", compared_on)
    _require("class map", result.classes_ppm, CLASSES_PPM_FP32, "ppm of the pixels", compared_on)
    _require("halo", result.halo_ppm, HALO_PPM_FP32, "ppm of the pixels", compared_on)
    return result


def _check_reach(kind: str, input_scale: int, halo: int) -> int:
    derived, measured = reach(kind, input_scale), measured_reach(kind, input_scale)
    if derived != measured or halo < derived:
        raise VerificationError(
            f"the halo of {halo} px cannot be trusted: {kind} at input scale {input_scale} "
            f"reaches {derived} px by derivation and {measured} px by measurement",
            hint="Nothing was published",
        )
    return derived


def _require(check: str, found: float, allowed: float, unit: str, compared_on: str) -> None:
    # Written so that a NaN fails.
    if not found <= allowed:
        raise VerificationError(
            f"the exported model fails its {check} check: {found:.3g} {unit} differ from torch "
            f"or from itself on {compared_on}, at most {allowed:g} may",
            hint="Nothing was published",
        )


def _compare_logits(
    segmenter: Segmenter, shown: onnx.ModelProto, frames: Sequence[NDArray[np.uint8]]
) -> float:
    """The worst of all frames, on a temporary graph that shows its logits."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "logits.onnx"
        path.write_bytes(shown.SerializeToString())
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        for frame in frames:
            (found,) = session.run([LOGITS], {INPUT: frame[None]})
            truth = _logits(segmenter, frame)
            difference = np.abs(found - truth).max() / np.abs(truth).max()
            # max() would pass over a NaN
            worst = float("nan") if np.isnan(difference) else max(worst, float(difference))
        del session
    return worst


def _logits(segmenter: Segmenter, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    with torch.inference_mode():
        logits: NDArray[np.float32] = segmenter(torch.tensor(frame[None])).numpy()
    return logits


def _classes(segmenter: Segmenter, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    # numpy's argmax takes the lowest index of a tie, as the graph does.
    classes: NDArray[np.uint8] = _logits(segmenter, frame).argmax(axis=1).astype(np.uint8)
    return classes


def _beyond_halo(
    engine: OnnxRuntimeEngine, frames: Sequence[NDArray[np.uint8]], halo: int, stride: int
) -> tuple[int, int]:
    """(changed, compared) over all frames, each repeated until it is larger than the halo."""
    changed = compared = 0
    side = 2 * halo + 5 * stride
    for number, frame in enumerate(frames):
        repeats = (-(-side // frame.shape[0]), -(-side // frame.shape[1]), 1)
        large = np.ascontiguousarray(np.tile(frame, repeats)[:side, :side])
        wrong, of = disagreement_beyond_halo(engine, large, halo, seed=number)
        changed, compared = changed + wrong, compared + of
    return changed, compared
