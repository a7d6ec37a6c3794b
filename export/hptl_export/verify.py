"""An exported file says what the network says, or it is not published."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch

from hptl_deploy.engines.onnxruntime import OnnxRuntimeEngine, load_onnxruntime, session_options
from hptl_deploy.errors import VerificationError
from hptl_deploy.model import INPUT, Model
from hptl_export.graph import LOGITS
from hptl_export.halo import CORE_STRIDES, change_beyond_halo, measured_reach
from hptl_export.thresholds import CLASSES_PPM_FP32, HALO_FP32, LOGITS_FP32
from hptl_train.networks import Segmenter
from hptl_train.networks.reach import reach

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    # float32 [K, H, W] of a frame uint8 [H, W, 3]
    Logits = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

_UNPUBLISHED = "Nothing was published"


@dataclass(frozen=True)
class Verification:
    """What was measured; every figure has passed its threshold."""

    logits: float
    """max |ONNX - torch| / max |torch|."""
    classes_ppm: float
    beyond_halo: float
    """Largest change of a logit / largest logit, when all outside the halo becomes noise."""
    reach: int
    pixels: int
    """Pixels that logits and classes were compared on."""
    compared_on: str

    def to_json(self) -> dict[str, Any]:
        """For the card: figure and what it stands for."""
        return {
            "logits against torch": f"{self.logits:.1e} of the largest",
            "classes against torch": f"{self.classes_ppm:.2f} ppm of {self.pixels} px differ",
            "logits when all outside the halo is noise": f"{self.beyond_halo:.1e} of the largest",
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
    truths = [_torch_logits(segmenter, frame) for frame in frames]
    with _onnx_logits(shown) as logits:
        worst = _worst(
            float(np.abs(logits(frame) - truth).max()) / float(np.abs(truth).max())
            for frame, truth in zip(frames, truths, strict=True)
        )
        if not worst <= LOGITS_FP32:
            raise VerificationError(
                f"on {compared_on}, the exported graph's logits differ from torch's by "
                f"{worst:.2g} of the largest; at most {LOGITS_FP32:g} is rounding",
                hint=_UNPUBLISHED,
            )
        beyond = _check_halo(logits, frames, card.halo, card.stride)
    pixels = sum(truth[0].size for truth in truths)
    return Verification(
        logits=worst,
        classes_ppm=_check_classes(model, frames, truths, compared_on),
        beyond_halo=beyond,
        reach=found,
        pixels=pixels,
        compared_on=compared_on,
    )


def _check_reach(kind: str, input_scale: int, halo: int) -> int:
    derived, measured = reach(kind, input_scale), measured_reach(kind, input_scale)
    if derived != measured or halo < derived:
        raise VerificationError(
            f"the halo of {halo} px cannot be trusted: {kind} at input scale {input_scale} "
            f"reaches {derived} px by derivation and {measured} px by measurement",
            hint=_UNPUBLISHED,
        )
    return derived


def _check_halo(
    logits: Logits, frames: Sequence[NDArray[np.uint8]], halo: int, stride: int
) -> float:
    """The worst change of a logit over all frames, each repeated until it holds the halo."""
    side = 2 * halo + (CORE_STRIDES + 2) * stride
    changes, moved, compared = [], 0, 0
    for number, frame in enumerate(frames):
        repeats = (-(-side // frame.shape[0]), -(-side // frame.shape[1]), 1)
        large = np.ascontiguousarray(np.tile(frame, repeats)[:side, :side])
        change, wrong, of = change_beyond_halo(logits, large, halo, stride, seed=number)
        changes.append(change)
        moved, compared = moved + wrong, compared + of
    worst = _worst(changes)
    if not worst <= HALO_FP32:
        raise VerificationError(
            f"what lies more than {halo} px away changes a logit by {worst:.2g} of the largest "
            f"and the class of {moved} of {compared} pixels; at most {HALO_FP32:g} is rounding, so "
            "tiles would not equal the whole",
            hint=_UNPUBLISHED,
        )
    return worst


def _check_classes(
    model: Model,
    frames: Sequence[NDArray[np.uint8]],
    truths: Sequence[NDArray[np.float32]],
    compared_on: str,
) -> float:
    """Parts per million of the file's own class maps that differ from torch's."""
    with OnnxRuntimeEngine(model) as engine:
        # numpy's argmax takes the lowest index of a tie, as the graph does.
        different = sum(
            int((engine.infer(frame[None]).classes[0] != truth.argmax(0)).sum())
            for frame, truth in zip(frames, truths, strict=True)
        )
    pixels = sum(truth[0].size for truth in truths)
    ppm: float = 1e6 * different / pixels
    if not ppm <= CLASSES_PPM_FP32:
        raise VerificationError(
            f"on {compared_on}, the exported model gives {different} of {pixels} pixels another "
            f"class than torch ({ppm:.3g} ppm); at most {CLASSES_PPM_FP32:g} ppm may tie",
            hint=_UNPUBLISHED,
        )
    return ppm


@contextmanager
def _onnx_logits(shown: onnx.ModelProto) -> Iterator[Logits]:
    """The logits of a temporary file of the graph that shows them."""
    ort = load_onnxruntime()
    options = session_options(ort)
    # On Windows the file cannot be removed while the session holds it.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "logits.onnx"
        path.write_bytes(shown.SerializeToString())
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

        def logits(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
            (found,) = session.run([LOGITS], {INPUT: frame[None]})
            shown_logits: NDArray[np.float32] = found[0]
            return shown_logits

        yield logits


def _torch_logits(segmenter: Segmenter, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    with torch.inference_mode():
        logits: NDArray[np.float32] = segmenter(torch.tensor(frame[None]))[0].numpy()
    return logits


def _worst(figures: Iterable[float]) -> float:
    """The largest; NaN, which max() may pass over, where one is no number."""
    found = list(figures)
    if any(math.isnan(figure) for figure in found):
        return math.nan
    return max(found)
