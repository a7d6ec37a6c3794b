"""What is to be compared: rows, seeds, and what the command line asks of every recipe."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hptl_deploy.errors import UsageError
from hptl_train.recipe import AnyRecipe, Recipe, Wishes, load_recipe

ROWS: Mapping[str, str] = {
    "otsu": "OTSU",
    "svm": "SVM",
    "fcn32s": "FCN-32s",
    "fcn16s": "FCN-16s",
    "fcn8s": "FCN-8s",
    "deeplabv3plus": "DeepLab V3+",
    "hptl-2h": "HPTL-2H",
    "hptl": "HPTL",
    "hptl-r": "HPTL-R",
}
"""Recipe and title of each row, in the order of the paper's tables."""


@dataclass(frozen=True)
class Entry:
    """One row with one seed: a run of its own."""

    row: str
    seed: int
    recipe: AnyRecipe
    wishes: Wishes

    @property
    def name(self) -> str:
        """Of the run's folder, and of everything else that is kept of it."""
        return f"{self.row}-seed{self.seed}"


@dataclass(frozen=True)
class Plan:
    """A comparison; everything in it decides the table's numbers."""

    rows: tuple[str, ...]
    """Names of recipes, or TOML files, titled by the file's name where it is no row of the
    paper's; `name:2` is trained with two seeds, whatever the others have."""
    seeds: int
    """How many, from 0."""
    wishes: Wishes

    def entries(self) -> list[Entry]:
        """Every row with every seed, seed by seed, so that a first table is soon whole.

        Raises RecipeError when a row's recipe, or a wish for it, makes no sense, and
        UsageError for a row that is named twice.
        """
        rows = [self._row(words) for words in self.rows]
        keys = [key_of(row) for row, _ in rows]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise UsageError(f"--rows: {', '.join(twice)} is named more than once")
        most = max(seeds for _, seeds in rows)
        entries = [
            self._entry(row, seed) for seed in range(most) for row, seeds in rows if seed < seeds
        ]
        _check_different(entries)
        return entries

    def _row(self, words: str) -> tuple[str, int]:
        """(recipe, seeds) of one of `rows`."""
        counted = re.fullmatch(r"(.+):([1-9]\d*)", words)
        return (counted[1], int(counted[2])) if counted else (words, self.seeds)

    def _entry(self, row: str, seed: int) -> Entry:
        recipe = load_recipe(row)
        wishes = replace(self.wishes.fitting(recipe), recipe=row, seed=seed)
        wished = wishes.chain(recipe) if isinstance(recipe, Recipe) else wishes.rival(recipe)
        return Entry(key_of(row), seed, wished, wishes)

    def to_json(self) -> dict[str, Any]:
        """What must be the same when a comparison goes on: rows and seeds may be added."""
        return {key: value for key, value in vars(self.wishes).items() if value is not None}


def _check_different(entries: list[Entry]) -> None:
    """Two names for the same training would look like two methods that agree."""
    seen: dict[AnyRecipe, str] = {}
    for entry in (entry for entry in entries if entry.seed == 0):
        nameless = entry.recipe.model_copy(update={"name": ""})
        if nameless in seen:
            raise UsageError(
                f"rows {seen[nameless]} and {entry.row} are the same training with these options",
                hint="Leave one of them out with --rows",
            )
        seen[nameless] = entry.row


def key_of(row: str) -> str:
    """The name of a row's runs: its recipe's, of a TOML file the file's."""
    return Path(row).stem if row.endswith(".toml") else row


def title_of(row: str) -> str:
    """As the paper writes it."""
    return ROWS.get(row, row)
