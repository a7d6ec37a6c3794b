"""What the command line asks of a recipe, and the recipe that comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from hptl_deploy.errors import RecipeError
from hptl_train.networks.layers import GROUPS
from hptl_train.recipe.derived import without_steps
from hptl_train.recipe.recipe import Recipe, RivalRecipe, parse_recipe
from hptl_train.recipe.tables import RANDOM, SOURCE_NONE, SOURCE_PHOTOGRAPHS, WEIGHTS

_BLOCKS = 5
_WARM_UP = 0.2
"""Share of a one-cycle step's iterations in which the rate rises: the recipes' own."""


@dataclass(frozen=True)
class Wishes:
    """Options of `hptl-deploy train`, which hold for every step; None leaves the recipe alone."""

    recipe: str | None = None
    width: float | None = None
    channels: str | None = None
    """Five trunk widths, "64,128,64,128,128"."""
    fc: int | None = None
    iterations: int | None = None
    budget: float | None = None
    """A factor on every step's iterations."""
    source_iterations: int | None = None
    """Of the steps with a source domain; takes precedence over the two above."""
    one_cycle: float | None = None
    """Highest learning rate of the target steps' one-cycle schedule."""
    batch: int | None = None
    seed: int | None = None
    input_scale: int | None = None
    source_data: str | None = None
    """`photographs`, a folder, or `none`: the steps with a source domain are left out."""
    vgg19_weights: str | None = None
    """A file that replaces the steps with a source domain."""
    precision: str | None = None

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Wishes:
        """The wishes among a command's options, which bear the same names."""
        own: dict[str, Any] = {field.name: options.get(field.name) for field in fields(cls)}
        plain: dict[str, Any] = {k: str(v) if isinstance(v, Path) else v for k, v in own.items()}
        return cls(**plain)

    def command(self) -> str:
        """The command line that asks for it; folders, which are this machine's, are left out."""
        words = [f"{option} {_without_folders(value)}" for option, value in self._set().items()]
        return " ".join(["hptl-deploy train DATA", *words])

    def given(self) -> list[str]:
        """The options that are set, as they are written."""
        return list(self._set())

    def _set(self) -> dict[str, object]:
        return {f"--{key.replace('_', '-')}": v for key, v in vars(self).items() if v is not None}

    def rival(self, recipe: RivalRecipe) -> RivalRecipe:
        """A rival's recipe as wished: it takes a seed. Raises RecipeError for other wishes."""
        idle = set(self.given()) - {"--recipe", "--seed"}
        if idle:
            raise RecipeError(
                f"{', '.join(sorted(idle))}: recipe {recipe.name} has no steps to change"
            )
        return recipe if self.seed is None else recipe.model_copy(update={"seed": self.seed})

    def chain(self, recipe: Recipe) -> Recipe:
        """A chain's recipe as wished.

        Raises RecipeError when a wish makes no sense for it, or when the result is no
        possible recipe.
        """
        if self.source_data is not None and self.vgg19_weights is not None:
            raise RecipeError("--source-data and --vgg19-weights: expected one of them")
        table = recipe.model_dump(mode="json", exclude_none=True)
        self._resize(recipe, table)
        if self.seed is not None:
            table["seed"] = self.seed
        if self.input_scale is not None:
            table["input"]["scale"] = self.input_scale
        if self.precision is not None:
            table["compute"]["precision"] = self.precision
        for step in table["steps"]:
            self._pace(step)
            step["batch"] = self.batch or step["batch"]
        self._restart(recipe, table)
        return parse_recipe(table, f"recipe {recipe.name} with these options")

    def fitting(self, recipe: Recipe | RivalRecipe) -> Wishes:
        """These wishes without those that mean nothing to `recipe`, for many recipes at once."""
        if isinstance(recipe, RivalRecipe):
            return Wishes(recipe=self.recipe, seed=self.seed)
        kept = self
        if recipe.network is None:
            kept = replace(kept, channels=None, fc=None)
        if not _has_source(recipe):
            kept = replace(kept, source_data=None, vgg19_weights=None, source_iterations=None)
        return kept

    def _pace(self, step: dict[str, Any]) -> None:
        """How long a step is, and at which rate it learns."""
        step["iterations"] = self._iterations(step["iterations"])
        if step["network"] == "vgg19":
            step["iterations"] = self.source_iterations or step["iterations"]
        elif self.one_cycle is not None:
            if self.one_cycle <= 0:
                raise RecipeError(
                    f"--one-cycle {self.one_cycle:g}: expected a learning rate above 0, such as "
                    "0.001"
                )
            schedule = {"name": "one-cycle", "warm_up": _WARM_UP}
            step["optimiser"] |= {"learning_rate": self.one_cycle, "schedule": schedule}

    def _iterations(self, published: int) -> int:
        if self.budget is None:
            return self.iterations or published
        if self.iterations is not None:
            raise RecipeError("--iterations and --budget: expected one of them")
        if self.budget <= 0:
            raise RecipeError(f"--budget {self.budget:g}: expected a factor above 0, such as 0.05")
        return max(1, round(published * self.budget))

    def _resize(self, recipe: Recipe, table: dict[str, Any]) -> None:
        if self.width is not None:
            if not 0 < self.width <= 4:
                raise RecipeError(f"--width {self.width}: expected a factor above 0, up to 4")
            if recipe.network is not None:
                sizes = recipe.network.sizes.scaled(self.width)
                table["network"] |= {"channels": list(sizes.channels), "fc": sizes.fc}
            if recipe.deeplab is not None:
                table["deeplab"] |= asdict(recipe.deeplab.sizes.scaled(self.width))
        if (self.channels is not None or self.fc is not None) and recipe.network is None:
            raise RecipeError(f"--channels, --fc: recipe {recipe.name} trains no VGG-19 and no FCN")
        if self.channels is not None:
            table["network"]["channels"] = _widths(self.channels)
        if self.fc is not None:
            table["network"]["fc"] = self.fc

    def _restart(self, recipe: Recipe, table: dict[str, Any]) -> None:
        """Put another source domain, published weights or nothing in place of step 1."""
        source = {
            "--source-data": None if self.source_data == SOURCE_NONE else self.source_data,
            "--vgg19-weights": self.vgg19_weights,
            "--source-iterations": self.source_iterations,
        }
        for option, value in source.items():
            if value is not None and not _has_source(recipe):
                raise RecipeError(
                    f"{option} {value}: recipe {recipe.name} has no step with a source domain"
                )
        source_steps = {step.name for step in recipe.steps if step.network == "vgg19"}
        if self.vgg19_weights is not None:
            path = str(Path(self.vgg19_weights).resolve())
            start = {"start": WEIGHTS, "weights": path, "transfer": _FROM_WEIGHTS}
            table["steps"] = without_steps(table["steps"], source_steps, start)
        elif self.source_data == SOURCE_NONE:
            table["steps"] = without_steps(table["steps"], source_steps, {"start": RANDOM})
        elif self.source_data is not None:
            origin = self.source_data
            if origin != SOURCE_PHOTOGRAPHS:
                origin = str(Path(origin).resolve())
            for step in table["steps"]:
                if step["network"] == "vgg19":
                    step["source"] = origin


_FROM_WEIGHTS = next(iter(GROUPS))
"""omega_t1: what travels from VGG-19."""


def _has_source(recipe: Recipe) -> bool:
    return any(step.network == "vgg19" for step in recipe.steps)


def _widths(text: str) -> list[int]:
    words = text.split(",")
    if len(words) != _BLOCKS or not all(word.strip().isdigit() for word in words):
        raise RecipeError(
            f"--channels {text}: expected five whole numbers with commas, such as "
            "64,128,256,512,512"
        )
    return [int(word) for word in words]


def _without_folders(value: object) -> str:
    return Path(value).name if isinstance(value, str) else str(value)
