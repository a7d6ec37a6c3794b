"""A recipe: the chain as data. Steps, where each starts, and every number of training.

Nothing here imports torch. `train/recipes/hptl.toml` explains each key beside its number.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError, model_validator

from hptl_deploy.errors import RecipeError
from hptl_train.networks.layers import GROUPS, travels
from hptl_train.recipe.derived import resolved
from hptl_train.recipe.tables import (
    RANDOM,
    WEIGHTS,
    AugmentationTable,
    CheckpointsTable,
    ComputeTable,
    CropsTable,
    DeepLabTable,
    InitTable,
    InputTable,
    Name,
    NetworkTable,
    Seed,
    StepTable,
    Table,
    ValidationTable,
)
from hptl_train.rivals.tables import OtsuTable, SvmTable


class Recipe(Table):
    """A whole chain."""

    name: Name
    seed: Seed
    network: NetworkTable | None = None
    """Sizes of VGG-19 and the FCNs."""
    deeplab: DeepLabTable | None = None
    """Sizes of DeepLab V3+."""
    input: InputTable
    init: InitTable
    crops: CropsTable
    augmentation: AugmentationTable
    validation: ValidationTable
    checkpoints: CheckpointsTable
    compute: ComputeTable = ComputeTable()
    steps: Annotated[tuple[StepTable, ...], Field(min_length=1)]

    @property
    def vgg(self) -> NetworkTable:
        """Sizes of VGG-19 and the FCNs, of a recipe that trains one of them."""
        assert self.network is not None
        return self.network

    @model_validator(mode="after")
    def _chain_holds(self) -> Recipe:
        problems = self._size_problems()
        earlier: dict[str, StepTable] = {}
        for step in self.steps:
            problems += [f"step {step.name}: {text}" for text in _step_problems(step, earlier)]
            earlier[step.name] = step
        if self.steps[-1].network == "vgg19":
            problems.append("the last step must segment: it is what gets exported")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _size_problems(self) -> list[str]:
        networks = {step.network for step in self.steps}
        wanted = {"deeplab": "deeplabv3plus" in networks, "network": networks != {"deeplabv3plus"}}
        problems = [
            f"[{key}] is missing, which its steps need" if needed else f"no step needs [{key}]"
            for key, needed in wanted.items()
            if needed != (getattr(self, key) is not None)
        ]
        if self.deeplab is not None and self.crops.size < self.deeplab.sizes.least_crop:
            problems.append(
                f"crops of {self.crops.size} px teach nothing to the outer taps of rate "
                f"{max(self.deeplab.rates)}; expected {self.deeplab.sizes.least_crop} px at least"
            )
        return problems


class RivalRecipe(Table):
    """A rival without layers: one table of its own settings."""

    name: Name
    seed: Seed
    otsu: OtsuTable | None = None
    svm: SvmTable | None = None

    @model_validator(mode="after")
    def _one_method(self) -> RivalRecipe:
        if (self.otsu is None) == (self.svm is None):
            raise ValueError("expected one of the tables [otsu] and [svm]")
        return self

    @property
    def method(self) -> str:
        """`otsu` or `svm`."""
        return "otsu" if self.otsu is not None else "svm"


AnyRecipe = Recipe | RivalRecipe
_T = TypeVar("_T", bound=Table)


def _step_problems(step: StepTable, earlier: dict[str, StepTable]) -> list[str]:
    problems = []
    if step.name in earlier or step.name in (RANDOM, WEIGHTS):
        problems.append("its name is taken: by an earlier step, or as a word for a start")
    if (step.source is not None) != (step.network == "vgg19"):
        problems.append("a source belongs to vgg19, and vgg19 needs one")
    if (step.weights is not None) != (step.start == WEIGHTS):
        problems.append(f"a file of weights belongs to start = {WEIGHTS!r}, which needs one")
    if step.network == "deeplabv3plus" and step.batch < 2:
        problems.append("DeepLab V3+ normalises over a batch, which must hold 2 pictures at least")
    if step.start == RANDOM:
        if step.transfer is not None:
            problems.append("starts from random, so nothing can be transferred")
        return problems
    origin = "vgg19" if step.start == WEIGHTS else None
    if step.start in earlier:
        origin = earlier[step.start].network
    if origin is None:
        problems.append(f"starts from {step.start}, which is no earlier step")
    elif step.transfer not in GROUPS:
        problems.append(f"transfer must be {', '.join(GROUPS)}, found {step.transfer}")
    elif not travels(step.transfer, origin, step.network):
        problems.append(f"{step.transfer} cannot go from {origin} to {step.network}")
    return problems


def recipes_folder() -> Path:
    """Where the recipes lie: in the wheel beside this module, in a checkout one folder up."""
    here = Path(__file__).parents[1]
    packaged = here / "recipes"
    return packaged if packaged.is_dir() else here.parent / "recipes"


def recipe_names() -> list[str]:
    """Names of the recipes that come with the program."""
    return sorted(path.stem for path in recipes_folder().glob("*.toml"))


def load_recipe(name: str) -> AnyRecipe:
    """Read a recipe by its name or from a TOML file. Raises RecipeError with every problem."""
    path = _path(name, Path())
    return parse_any(_read(path, set()), f"recipe {path}")


def _path(name: str, beside: Path) -> Path:
    path = beside / name if name.endswith(".toml") else recipes_folder() / f"{name}.toml"
    if not path.is_file():
        raise RecipeError(
            f"recipe {name}: expected one of {', '.join(recipe_names())}, or a .toml file"
        )
    return path


def _read(path: Path, above: set[Path]) -> dict[str, Any]:
    """A recipe's table with its bases merged in; `above` are the files that build on it."""
    if path in above:
        raise RecipeError(f"recipe {path}: is its own base")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise RecipeError(f"recipe {path}: is not readable TOML ({exc})") from exc

    def base(name: str) -> dict[str, Any]:
        found = _read(_path(name, path.parent), above | {path})
        if "steps" not in found:
            raise RecipeError(f"recipe {path}: its base {name} has no steps")
        return found

    return resolved(table, f"recipe {path}", base)


def load_chain(name: str) -> Recipe:
    """As `load_recipe`, where only a chain will do. Raises RecipeError."""
    recipe = load_recipe(name)
    if not isinstance(recipe, Recipe):
        raise RecipeError(f"recipe {name}: expected the steps of a chain, found [{recipe.method}]")
    return recipe


def parse_any(table: dict[str, Any], where: str) -> AnyRecipe:
    """A chain or a rival from its table, as its keys tell; raises RecipeError."""
    rival = "steps" not in table and bool({"otsu", "svm"} & table.keys())
    return _parse(RivalRecipe, table, where) if rival else parse_recipe(table, where)


def parse_recipe(table: dict[str, Any], where: str) -> Recipe:
    """A chain from its table; raises RecipeError listing every problem."""
    return _parse(Recipe, table, where)


def _parse(kind: type[_T], table: dict[str, Any], where: str) -> _T:
    try:
        return kind.model_validate(table)
    except ValidationError as exc:
        problems = []
        for error in exc.errors():
            place = ".".join(str(part) for part in error["loc"])
            text = error["msg"].removeprefix("Value error, ")
            problems.append(f"{place}: {text}" if place else text)
        raise RecipeError(f"{where}: cannot be used", problems=problems) from exc
