"""The layers by name: which network has which, and what travels between them.

Nothing here imports torch: recipes are checked against these tables.

    VGG-19    conv1_1 ... conv5_4, fc6, fc7, fc8
    FCN-32s   conv1_1 ... conv5_4, fc6, fc7, score_fr, upscore32
    FCN-16s   conv1_1 ... conv5_4, fc6, fc7, score_fr, upscore2, score_pool4, upscore16
    FCN-8s    conv1_1 ... conv5_4, fc6, fc7, score_fr, upscore2, score_pool4,
              upscore_pool4, score_pool3, upscore8
"""

from __future__ import annotations

from dataclasses import dataclass

BLOCKS = (2, 2, 4, 4, 4)
"""3x3 convolutions per block; each block ends in a 2x2 max-pool."""

CONVOLUTIONS: tuple[tuple[str, ...], ...] = tuple(
    tuple(f"conv{block}_{place}" for place in range(1, count + 1))
    for block, count in enumerate(BLOCKS, start=1)
)
TRUNK = tuple(name for block in CONVOLUTIONS for name in block)
HEAD = ("fc6", "fc7", "score_fr")

NETWORKS: dict[str, tuple[str, ...]] = {
    "vgg19": (*TRUNK, "fc6", "fc7", "fc8"),
    "fcn32s": (*TRUNK, *HEAD, "upscore32"),
    "fcn16s": (*TRUNK, *HEAD, "upscore2", "score_pool4", "upscore16"),
    "fcn8s": (
        *TRUNK,
        *HEAD,
        "upscore2",
        "score_pool4",
        "upscore_pool4",
        "score_pool3",
        "upscore8",
    ),
}

GROUPS: dict[str, tuple[str, ...]] = {
    # "the first two layers": blocks 1 and 2
    "omega_t1": (*CONVOLUTIONS[0], *CONVOLUTIONS[1]),
    # the 16 convolutions and the three fully convolutional layers
    "omega_t2": (*TRUNK, *HEAD),
    # omega_t2 and one deconvolution
    "omega_t3": (*TRUNK, *HEAD, "upscore2"),
}


def travels(group: str, source: str, target: str) -> bool:
    """Whether `group` can go from one network to another.

    fc6 and fc7 of VGG-19 look at fixed 7x7 windows of another task, so beyond blocks 1
    to 5 nothing of it has a place in an FCN.
    """
    layers = set(GROUPS[group])
    if "vgg19" in (source, target):
        other = target if source == "vgg19" else source
        return other in NETWORKS and layers <= set(NETWORKS["vgg19"] if other == "vgg19" else TRUNK)
    # A network without the paper's layers (DeepLab V3+) shares none.
    return layers <= set(NETWORKS.get(source, ())) & set(NETWORKS.get(target, ()))


@dataclass(frozen=True)
class Sizes:
    """A network's size: five trunk widths, and the channels of fc6 and fc7."""

    channels: tuple[int, ...] = (64, 128, 256, 512, 512)
    fc: int = 4096

    def scaled(self, width: float) -> Sizes:
        """All six times `width`, at least 1 each."""
        return Sizes(
            tuple(max(1, round(value * width)) for value in self.channels),
            max(1, round(self.fc * width)),
        )
