"""An exported file says what the network says, or it is not published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch

from hptl_deploy.engines.onnxruntime import OnnxRuntimeEngine
from hptl_deploy.errors import VerificationError
from hptl_deploy.model import Model, ModelCard
from hptl_deploy.probe import Probe
from hptl_export.change import largest
from hptl_export.effort import LOOK
from hptl_export.files import Logits, onnx_logits
from hptl_export.half import magnitudes
from hptl_export.halo import CORE_STRIDES, change_beyond_halo, measured_reach
from hptl_export.probing import probe_frame
from hptl_export.thresholds import CLASSES_PPM_FP32, HALO_FP32, LOGITS_FP32
from hptl_train.networks import Segmenter
from hptl_train.networks.reach import reach

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hptl_export.frames import Frames

_UNPUBLISHED = "Nothing was published"


@dataclass(frozen=True)
class Verification:
    """What was measured, every figure within its threshold, and what was seen on the way."""

    logits: float
    """max |ONNX - torch| / max |torch|."""
    classes_ppm: float
    beyond_halo: float
    """Largest change of a logit / largest logit, when all outside the halo becomes noise."""
    reach: int
    shown: list[NDArray[np.float32]]
    """The exported graph's logits [K, H, W] of each frame."""
    magnitudes: Mapping[str, float]
    """The largest number that each layer of the network read, holds and wrote."""
    probe: Probe
    """What the file itself says of the part of the frames with the most even mixture of phases."""
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
    looked_at: Frames,
    per_pixel: float,
) -> Verification:
    """Compare the model file, which takes `per_pixel` operations, with the network.

    `shown` is the model's graph with its logits as an output. Raises VerificationError naming the
    check that failed and by how much.
    """
    card, frames, compared_on = model.card, looked_at.pictures, looked_at.what
    found = _check_reach(segmenter.network.kind, card.input_scale, card.halo)
    with magnitudes(segmenter) as seen:
        truths = [torch_logits(segmenter, frame) for frame in frames]
    with onnx_logits(shown) as logits:
        given = [logits(frame) for frame in frames]
        worst = largest(
            float(np.abs(answer - truth).max()) / float(np.abs(truth).max())
            for answer, truth in zip(given, truths, strict=True)
        )
        if not worst <= LOGITS_FP32:
            raise VerificationError(
                f"on {compared_on}, the exported graph's logits differ from torch's by "
                f"{worst:.2g} of the largest; at most {LOGITS_FP32:g} is rounding",
                hint=_UNPUBLISHED,
            )
        beyond = _check_halo(logits, frames, card, per_pixel)
    # numpy's argmax takes the lowest index of a tie, as the graph does.
    maps = [truth.argmax(0).astype(np.uint8) for truth in truths]
    with OnnxRuntimeEngine(model) as engine:
        ppm = _check_classes(engine, frames, maps, compared_on)
        frame = probe_frame(frames, maps, card.stride)
        probe = Probe.of(frame, engine.infer(frame[None]).classes[0])
    return Verification(
        logits=worst,
        classes_ppm=ppm,
        beyond_halo=beyond,
        reach=found,
        shown=given,
        magnitudes=seen,
        probe=probe,
        pixels=sum(one.size for one in maps),
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
    logits: Logits, frames: Sequence[NDArray[np.uint8]], card: ModelCard, per_pixel: float
) -> float:
    """The worst change of a logit over frames, each repeated until it holds the halo.

    All of them where that is one look's work or less, else as many as it goes through.
    """
    halo, stride = card.halo, card.stride
    side = 2 * halo + (CORE_STRIDES + 2) * stride
    affordable = max(1, int(LOOK / (2 * side**2 * per_pixel)))
    changes, moved, compared = [], 0, 0
    for number, frame in enumerate(frames[:affordable]):
        repeats = (-(-side // frame.shape[0]), -(-side // frame.shape[1]), 1)
        large = np.ascontiguousarray(np.tile(frame, repeats)[:side, :side])
        change, wrong, of = change_beyond_halo(logits, large, halo, stride, seed=number)
        changes.append(change)
        moved, compared = moved + wrong, compared + of
    worst = largest(changes)
    if not worst <= HALO_FP32:
        raise VerificationError(
            f"what lies more than {halo} px away changes a logit by {worst:.2g} of the largest "
            f"and the class of {moved} of {compared} pixels; at most {HALO_FP32:g} is rounding, so "
            "tiles would not equal the whole",
            hint=_UNPUBLISHED,
        )
    return worst


def _check_classes(
    engine: OnnxRuntimeEngine,
    frames: Sequence[NDArray[np.uint8]],
    maps: Sequence[NDArray[np.uint8]],
    compared_on: str,
) -> float:
    """Parts per million of the file's own class maps that differ from torch's `maps`."""
    different = sum(
        int((engine.infer(frame[None]).classes[0] != truth).sum())
        for frame, truth in zip(frames, maps, strict=True)
    )
    pixels = sum(truth.size for truth in maps)
    ppm: float = 1e6 * different / pixels
    if not ppm <= CLASSES_PPM_FP32:
        raise VerificationError(
            f"on {compared_on}, the exported model gives {different} of {pixels} pixels another "
            f"class than torch ({ppm:.3g} ppm); at most {CLASSES_PPM_FP32:g} ppm may tie",
            hint=_UNPUBLISHED,
        )
    return ppm


def torch_logits(segmenter: Segmenter, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The network's own logits [K, H, W] of a frame [H, W, 3]."""
    with torch.inference_mode():
        logits: NDArray[np.float32] = segmenter(torch.tensor(frame[None]))[0].numpy()
    return logits
