"""A recipe: the chain as data. Steps, where each starts, and every number of training.

Nothing here imports torch. `train/recipes/hptl.toml` explains each key beside its number.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hptl_deploy.errors import RecipeError
from hptl_train.networks.layers import GROUPS, Sizes, travels

NetworkKey = Literal["vgg19", "fcn32s", "fcn16s", "fcn8s"]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
"""Becomes part of a folder's name."""

SOURCE_PHOTOGRAPHS = "photographs"
SOURCE_NONE = "none"
RANDOM = "random"


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NetworkTable(_Table):
    """`[network]`: sizes shared by all steps, so that parameters fit from one to the next."""

    channels: Annotated[tuple[Count, ...], Field(min_length=5, max_length=5)]
    fc: Count
    dropout: Annotated[float, Field(ge=0, lt=1)]

    @property
    def sizes(self) -> Sizes:
        """Trunk widths and fc."""
        return Sizes(self.channels, self.fc)


class InputTable(_Table):
    """`[input]`: enlargement and normalisation, both inside the exported graph."""

    scale: Literal[1, 2, 3, 4]
    mean: Annotated[tuple[float, ...], Field(min_length=3, max_length=3)]
    std: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=3, max_length=3)]


class InitTable(_Table):
    """`[init]`: what is not transferred starts from."""

    convolution: Literal["he-normal"]
    deconvolution: Literal["bilinear", "he-normal"]
    skip_score: Literal["zero", "he-normal"]


class CropsTable(_Table):
    """`[crops]`: what a training batch is made of."""

    size: Annotated[int, Field(ge=32)]
    """Side in pixels of the network's enlarged input."""
    rare_share: Share


class AugmentationTable(_Table):
    """`[augmentation]`: amounts are the ends of uniform distributions round no change."""

    variants: Annotated[int, Field(ge=0)]
    """Fixed variants per micrograph; 0 draws anew for every crop."""
    flips: bool
    quarter_turns: bool
    brightness: Share
    contrast: Share
    white_balance: Share


class ValidationTable(_Table):
    """`[validation]`: the validation frames are scored every so many iterations."""

    every: Count


class CheckpointsTable(_Table):
    """`[checkpoints]`: how often a step's state is saved."""

    seconds: Annotated[float, Field(ge=0)]


class ScheduleTable(_Table):
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


class OptimiserTable(_Table):
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


class StepTable(_Table):
    """`[[steps]]`: one network, where it starts and how it is trained."""

    name: Name
    network: NetworkKey
    start: str
    """`random`, or the name of an earlier step."""
    transfer: str | None = None
    """Which parameters come along: omega_t1, omega_t2 or omega_t3."""
    source: str | None = None
    """VGG-19 only: `photographs` or a class-per-folder tree."""
    iterations: Count
    batch: Count
    l2: Annotated[float, Field(ge=0)] = 0.0
    """lambda; the penalty is lambda times the reduced squares of all parameters."""
    l2_reduction: Literal["mean", "sum"] = "mean"
    optimiser: OptimiserTable


class Recipe(_Table):
    """A whole chain."""

    name: Name
    seed: Annotated[int, Field(ge=0)]
    network: NetworkTable
    input: InputTable
    init: InitTable
    crops: CropsTable
    augmentation: AugmentationTable
    validation: ValidationTable
    checkpoints: CheckpointsTable
    steps: Annotated[tuple[StepTable, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _chain_holds(self) -> Recipe:
        problems: list[str] = []
        earlier: dict[str, StepTable] = {}
        for step in self.steps:
            problems += [f"step {step.name}: {text}" for text in _step_problems(step, earlier)]
            earlier[step.name] = step
        if self.steps[-1].network == "vgg19":
            problems.append("the last step must be an FCN: it is what gets exported")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def overridden(
        self,
        *,
        width: float | None = None,
        iterations: int | None = None,
        seed: int | None = None,
        input_scale: int | None = None,
        source: str | None = None,
    ) -> Recipe:
        """The recipe with the command line's wishes, which hold for every step.

        `source` is `photographs`, a folder, or `none`, which leaves out the VGG-19 steps and
        starts what was to follow them from random. Raises RecipeError when the result is
        not a possible recipe.
        """
        table = self.model_dump(mode="json", exclude_none=True)
        if width is not None:
            if not 0 < width <= 4:
                raise RecipeError(f"--width {width}: expected a factor above 0, up to 4")
            sizes = self.network.sizes.scaled(width)
            table["network"] |= {"channels": list(sizes.channels), "fc": sizes.fc}
        if seed is not None:
            table["seed"] = seed
        if input_scale is not None:
            table["input"]["scale"] = input_scale
        if iterations is not None:
            for step in table["steps"]:
                step["iterations"] = iterations
        if source is not None:
            if source != SOURCE_NONE and all(step.network != "vgg19" for step in self.steps):
                raise RecipeError(
                    f"--source-data {source}: recipe {self.name} has no step with a source domain"
                )
            table["steps"] = _with_source(table["steps"], source)
        return parse_recipe(table, f"recipe {self.name} with these options")


def _step_problems(step: StepTable, earlier: dict[str, StepTable]) -> list[str]:
    problems = []
    if step.name in earlier or step.name == RANDOM:
        problems.append("its name is taken by an earlier step, or means a random start")
    if (step.source is not None) != (step.network == "vgg19"):
        problems.append("a source belongs to vgg19, and vgg19 needs one")
    if step.start == RANDOM:
        if step.transfer is not None:
            problems.append("starts from random, so nothing can be transferred")
        return problems
    if step.start not in earlier:
        problems.append(f"starts from {step.start}, which is no earlier step")
    elif step.transfer not in GROUPS:
        problems.append(f"transfer must be {', '.join(GROUPS)}, found {step.transfer}")
    elif not travels(step.transfer, earlier[step.start].network, step.network):
        problems.append(
            f"{step.transfer} cannot go from {earlier[step.start].network} to {step.network}"
        )
    return problems


def _with_source(steps: Sequence[dict[str, Any]], source: str) -> list[dict[str, Any]]:
    if source != SOURCE_NONE:
        return [
            {**step, "source": source} if step["network"] == "vgg19" else step for step in steps
        ]
    dropped = {step["name"] for step in steps if step["network"] == "vgg19"}
    kept = [dict(step) for step in steps if step["name"] not in dropped]
    for step in kept:
        if step["start"] in dropped:
            step["start"] = RANDOM
            step.pop("transfer", None)
    return kept


def recipes_folder() -> Path:
    """Where the recipes lie: in the wheel beside this module, in a checkout one folder up."""
    here = Path(__file__).parent
    packaged = here / "recipes"
    return packaged if packaged.is_dir() else here.parent / "recipes"


def recipe_names() -> list[str]:
    """Names of the recipes that come with the program."""
    return sorted(path.stem for path in recipes_folder().glob("*.toml"))


def load_recipe(name: str) -> Recipe:
    """Read a recipe by its name or from a TOML file. Raises RecipeError with every problem."""
    path = Path(name) if name.endswith(".toml") else recipes_folder() / f"{name}.toml"
    if not path.is_file():
        raise RecipeError(
            f"recipe {name}: expected one of {', '.join(recipe_names())}, or a .toml file"
        )
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise RecipeError(f"recipe {path}: is not readable TOML ({exc})") from exc
    return parse_recipe(table, f"recipe {path}")


def parse_recipe(table: dict[str, Any], where: str) -> Recipe:
    """A recipe from its table; raises RecipeError listing every problem."""
    try:
        return Recipe.model_validate(table)
    except ValidationError as exc:
        problems = []
        for error in exc.errors():
            place = ".".join(str(part) for part in error["loc"])
            text = error["msg"].removeprefix("Value error, ")
            problems.append(f"{place}: {text}" if place else text)
        raise RecipeError(f"{where}: cannot be used", problems=problems) from exc
