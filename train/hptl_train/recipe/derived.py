"""A recipe that is another one with differences, so that a row's file shows what sets it apart.

    base = "hptl"                  # a recipe's name, or a TOML file beside this one
    steps_kept = ["fcn8s"]         # the other steps go; what started from one starts from random
    [target_steps]                 # changes every step on the target domain
    iterations = 36_000
    [source_steps]                 # changes every step on a source domain
    iterations = 200

Any other key replaces the base's, tables key by key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hptl_deploy.errors import RecipeError
from hptl_train.recipe.tables import RANDOM

Table = dict[str, Any]
_OWN = ("base", "steps_kept", "target_steps", "source_steps")


def resolved(table: Table, where: str, read: Callable[[str], Table]) -> Table:
    """`table` with its base, which `read` gives by name, merged in.

    Raises RecipeError when a key of this scheme holds something else than above.
    """
    if "base" not in table:
        stray = [key for key in _OWN if key in table]
        if stray:
            raise RecipeError(
                f'{where}: {", ".join(stray)} changes a base, and base = "..." is missing'
            )
        return table
    kept = table.get("steps_kept")
    target, source = table.get("target_steps", {}), table.get("source_steps", {})
    if not isinstance(table["base"], str):
        raise RecipeError(f"{where}: expected base to be a name")
    if not isinstance(target, dict) or not isinstance(source, dict):
        raise RecipeError(f"{where}: expected target_steps and source_steps to be tables")
    result = read(table["base"])
    if kept is not None:
        result = {**result, "steps": _kept(result["steps"], kept, where)}
    result = _merged(result, {key: value for key, value in table.items() if key not in _OWN})
    steps = result["steps"]
    return {
        **result,
        "steps": [_merged(s, source if s["network"] == "vgg19" else target) for s in steps],
    }


def without_steps(steps: list[Table], dropped: set[str], start: Table) -> list[Table]:
    """The steps without `dropped`; what started from one of those gets the keys of `start`."""
    left = []
    for step in steps:
        if step["name"] in dropped:
            continue
        if step["start"] in dropped:
            bare = {key: value for key, value in step.items() if key not in ("start", "transfer")}
            left.append({**bare, **start})
        else:
            left.append(step)
    return left


def _kept(steps: list[Table], names: object, where: str) -> list[Table]:
    known = [step["name"] for step in steps]
    if not isinstance(names, list) or not set(map(str, names)) <= set(known):
        raise RecipeError(f"{where}: steps_kept: expected a list of {', '.join(known)}")
    return without_steps(steps, set(known) - set(names), {"start": RANDOM})


def _merged(base: Table, changes: Table) -> Table:
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            result[key] = _merged(old, value)
        else:
            result[key] = value
    return result
