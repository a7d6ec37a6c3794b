"""A network and the file it became."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from hptl_deploy.channel_blocks import WIDE
from hptl_deploy.model import Model, ModelCard
from hptl_deploy.phases import PAPER_PHASES
from hptl_train.networks import Segmenter
from hptl_train.networks.reach import halo
from hptl_train.networks.segmenter import stride_of
from support.tiny import TINY


@dataclass(frozen=True)
class Exported:
    """A network and the file it became."""

    segmenter: Segmenter
    model: Model
    shown: onnx.ModelProto
    """The same graph with its logits as a third output."""


def card(input_scale: int) -> ModelCard:
    """The card of a tiny FCN-8s."""
    return ModelCard(
        name="tiny",
        network="fcn8s",
        channels=TINY.channels,
        fc=TINY.fc,
        phases=PAPER_PHASES,
        input_scale=input_scale,
        stride=stride_of(input_scale),
        halo=halo("fcn8s", input_scale),
        bytes_per_pixel=100.0,
        channel_block=WIDE,  # so that every machine plans alike
        pixel_size_um=None,
    )
