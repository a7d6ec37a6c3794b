"""The sizes of DeepLab V3+ on ResNet-50. Nothing here imports torch.

The numbers are the publications': ResNet-50 of He et al. (CVPR 2016, table 1), multi-grid,
pyramid and rates of DeepLab v3 (arXiv 1706.05587, tables 5 and 6), decoder of DeepLab V3+
(Chen et al., ECCV 2018, tables 1 and 2).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

EXPANSION = 4
"""A bottleneck block gives this many times the channels that its 3x3 convolution has."""

OUTPUT_STRIDE = 16
"""Input pixels per pixel of the encoder's last feature map."""


@dataclass(frozen=True)
class DeepLabSizes:
    """Channels, blocks and dilations; the defaults are the published ones."""

    stem: int = 64
    """Channels of the 7x7 convolution."""
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    """Channels of the 3x3 convolutions in each stage; a stage gives `EXPANSION` times as many."""
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    """Bottleneck blocks per stage."""
    multi_grid: tuple[int, ...] = (1, 2, 4)
    """Unit rate of each block of the last stage: its 3x3 convolution is dilated by twice that."""
    aspp: int = 256
    """Channels of every branch of the pyramid, and of what they are merged into."""
    rates: tuple[int, ...] = (6, 12, 18)
    """Dilations of the pyramid's 3x3 branches."""
    low_level: int = 48
    """Channels that the first stage is reduced to for the decoder."""
    decoder: int = 256
    """Channels of the decoder's two 3x3 convolutions."""

    def __post_init__(self) -> None:
        """Raises ValueError unless each block of the last stage has its unit rate."""
        if len(self.multi_grid) != self.blocks[3]:
            raise ValueError(
                f"multi_grid has {len(self.multi_grid)} unit rates, expected {self.blocks[3]}: "
                "one for each block of the last stage"
            )

    @property
    def evaluation_bytes(self) -> float:
        """Memory per input pixel of a whole frame in evaluation, fp32.

        About 440 at the published sizes (`networks.deeplab`), and proportional to the channels.
        """
        return 440.0 * self.decoder / 256

    def scaled(self, width: float) -> DeepLabSizes:
        """All channels times `width`, at least 1 each; blocks, multi-grid and rates stay."""

        def times(channels: int) -> int:
            return max(1, round(channels * width))

        first, second, third, fourth = self.widths
        return replace(
            self,
            stem=times(self.stem),
            widths=(times(first), times(second), times(third), times(fourth)),
            aspp=times(self.aspp),
            low_level=times(self.low_level),
            decoder=times(self.decoder),
        )

    @property
    def least_crop(self) -> int:
        """The smallest training crop that teaches every weight, pixels of the network's input.

        A 3x3 convolution of dilation r on n x n features has its outer taps on padding
        everywhere unless n > r. Below that they get no gradient, keep their random start, and
        first have a say on a larger frame. So n = r + 1 at least: 304 pixels for rate 18. The
        publications train on 513.
        """
        return OUTPUT_STRIDE * (max(self.rates) + 1)
