"""The narrowest networks that are still the paper's, and recipes for them."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from hptl_train.networks import FCN, Segmenter, Sizes
from hptl_train.networks.init import initialise
from hptl_train.recipe import Recipe, load_chain, parse_recipe

TINY = Sizes((4, 4, 6, 6, 8), 12)


def segmenter(
    kind: str = "fcn8s", phases: int = 3, input_scale: int = 1, seed: int = 0, sizes: Sizes = TINY
) -> Segmenter:
    """Random weights everywhere, the skip scores included, so that every path is felt."""
    torch.manual_seed(seed)
    network = FCN(kind, sizes, phases)
    initialise(network, "he-normal", "bilinear", "he-normal")
    return Segmenter(network, input_scale).eval()


def recipe(iterations: int = 12, **tables: Mapping[str, object]) -> Recipe:
    """The shipped chain, narrow, with short steps and small crops."""
    table = load_chain("hptl").model_dump(mode="json", exclude_none=True)
    table["network"] |= {"channels": list(TINY.channels), "fc": TINY.fc}
    table["crops"] |= {"size": 64}
    table["validation"] = {"every": 8}
    for step in table["steps"]:
        step |= {"iterations": iterations, "batch": 2}
    for name, changes in tables.items():
        table[name] |= changes
    return parse_recipe(table, "test recipe")
