"""The tables of a recipe: every number of training, each with its range.

Nothing here imports torch. `train/recipes/hptl.toml` explains each key beside its number.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hptl_train.networks.deeplab_sizes import DeepLabSizes
from hptl_train.networks.layers import Sizes

NetworkKey = Literal["vgg19", "fcn32s", "fcn16s", "fcn8s", "deeplabv3plus"]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
"""Becomes part of a folder's name."""

SOURCE_PHOTOGRAPHS = "photographs"
SOURCE_NONE = "none"
RANDOM = "random"
WEIGHTS = "weights"


class Table(BaseModel):
    """What all tables share: no unknown key, and nothing changes behind its check."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NetworkTable(Table):
    """`[network]`: sizes shared by all steps, so that parameters fit from one to the next."""

    channels: Annotated[tuple[Count, ...], Field(min_length=5, max_length=5)]
    fc: Count
    dropout: Annotated[float, Field(ge=0, lt=1)]

    @property
    def sizes(self) -> Sizes:
        """Trunk widths and fc."""
        return Sizes(self.channels, self.fc)


class DeepLabTable(Table):
    """`[deeplab]`: sizes of DeepLab V3+; names and meaning as in `DeepLabSizes`."""

    stem: Count
    widths: tuple[Count, Count, Count, Count]
    blocks: tuple[Count, Count, Count, Count]
    multi_grid: tuple[Count, ...]
    aspp: Count
    rates: Annotated[tuple[Count, ...], Field(min_length=1)]
    low_level: Count
    decoder: Count
    dropout: Annotated[float, Field(ge=0, lt=1)]

    @property
    def sizes(self) -> DeepLabSizes:
        """All but the dropout."""
        return DeepLabSizes(**self.model_dump(exclude={"dropout"}))

    @model_validator(mode="after")
    def _fits(self) -> DeepLabTable:
        _ = self.sizes  # raises ValueError when the numbers contradict one another
        return self


class InputTable(Table):
    """`[input]`: enlargement and normalisation, both inside the exported graph."""

    scale: Literal[1, 2, 3, 4]
    mean: Annotated[tuple[float, ...], Field(min_length=3, max_length=3)]
    std: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=3, max_length=3)]


class InitTable(Table):
    """`[init]`: what is not transferred starts from."""

    convolution: Literal["he-normal"]
    deconvolution: Literal["bilinear", "he-normal"] = "bilinear"
    skip_score: Literal["zero", "he-normal"] = "zero"


class CropsTable(Table):
    """`[crops]`: what a training batch is made of."""

    size: Annotated[int, Field(ge=32)]
    """Side in pixels of the network's enlarged input."""
    rare_share: Share


class AugmentationTable(Table):
    """`[augmentation]`: amounts are the ends of uniform distributions round no change."""

    variants: Annotated[int, Field(ge=0)]
    """Fixed variants per micrograph; 0 draws anew for every crop."""
    flips: bool
    quarter_turns: bool
    brightness: Share
    contrast: Share
    white_balance: Share
    scale: Share = 0.0
    """The window is 1 / (1 + scale) to 1 + scale crop sides, log-uniform, and resized to one."""
    illumination: Share = 0.0
    """Most light lost across a crop: half by a quadratic fall-off, half by a tilt."""
    exposure: Annotated[float, Field(ge=0, le=2)] = 0.0
    """Stops: a gain of 2^+-exposure, then an exponent of 2^+-exposure, uniform in stops."""
    blur: Annotated[float, Field(ge=0, le=5)] = 0.0
    """Largest Gaussian standard deviation, micrograph px; uniform from 0."""
    noise: Share = 0.0
    """Largest standard deviation, share of full scale; uniform from 0."""
    jpeg: Annotated[int, Field(ge=1, le=95)] | Literal[100] = 100
    """Half of the crops are compressed, quality uniform from here to 95; 100 is off."""


class ValidationTable(Table):
    """`[validation]`: the validation frames are scored every so many iterations."""

    every: Count
    keep: Literal["last", "best"] = "last"
    """Which weights a step hands on: those after its last iteration, or those with the best
    mean IoU on the validation frames."""
    patience: Count | None = None
    """A step ends early after so many validations without a better mean IoU."""


class CheckpointsTable(Table):
    """`[checkpoints]`: how often a step's state is saved."""

    seconds: Annotated[float, Field(ge=0)]


class ComputeTable(Table):
    """`[compute]`: how the numbers are computed. What it changes is rounding and speed."""

    precision: Precision = "fp32"
    """Of the forward and backward pass; weights and optimiser stay fp32. auto: bf16 on a card
    that has it, fp16 on an older one, fp32 on the CPU."""
    channels_last: bool = False
    compile: bool = False
    """torch.compile: minutes at the start, faster iterations."""
    deterministic: bool = True
    """On a card, at a price in speed: a resumed run of FCNs repeats an unbroken one bit for bit,
    one of DeepLab V3+ up to rounding (torch's bilinear enlargement goes back in no fixed order)."""


class ScheduleTable(Table):
    """`schedule`: the learning rate as a function of the iteration."""

    name: Literal["fixed", "exponential", "one-cycle"]
    factor: Annotated[float, Field(gt=0, le=1)] | None = None
    """exponential: multiplies the rate ..."""
    every: Count | None = None
    """... after every so many iterations."""
    warm_up: Share | None = None
    """one-cycle: share of the iterations that rise, before the fall."""

    @model_validator(mode="after")
    def _complete(self) -> ScheduleTable:
        wanted = {"fixed": set(), "exponential": {"factor", "every"}, "one-cycle": {"warm_up"}}
        given = {key for key in ("factor", "every", "warm_up") if getattr(self, key) is not None}
        if given != wanted[self.name]:
            raise ValueError(
                f"schedule {self.name} takes {sorted(wanted[self.name]) or 'no numbers'}, "
                f"found {sorted(given) or 'none'}"
            )
        return self


class OptimiserTable(Table):
    """`[steps.optimiser]`."""

    name: Literal["sgd", "adam"]
    learning_rate: Annotated[float, Field(gt=0)]
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    betas: Annotated[tuple[float, ...], Field(min_length=2, max_length=2)] | None = None
    weight_decay: Annotated[float, Field(ge=0)]
    """The literal L2 coefficient inside the optimiser."""
    schedule: ScheduleTable

    @model_validator(mode="after")
    def _complete(self) -> OptimiserTable:
        if (self.momentum is None) == (self.name == "sgd"):
            raise ValueError("momentum belongs to sgd, and only to it")
        if (self.betas is None) == (self.name == "adam"):
            raise ValueError("betas belong to adam, and only to it")
        return self


class StepTable(Table):
    """`[[steps]]`: one network, where it starts and how it is trained."""

    name: Name
    network: NetworkKey
    start: str
    """`random`, the name of an earlier step, or `weights`."""
    transfer: str | None = None
    """Which parameters come along: omega_t1, omega_t2 or omega_t3."""
    source: str | None = None
    """VGG-19 only: `photographs` or a class-per-folder tree."""
    weights: str | None = None
    """Where a step starts from `weights`: a file of published VGG-19 weights."""
    iterations: Count
    batch: Count
    l2: Annotated[float, Field(ge=0)] = 0.0
    """lambda; the penalty is lambda times the reduced squares of all parameters."""
    l2_reduction: Literal["mean", "sum"] = "mean"
    optimiser: OptimiserTable
