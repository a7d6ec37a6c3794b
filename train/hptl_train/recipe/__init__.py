"""Recipes: what they may say (`tables`), what they are (`recipe`), what is asked of them."""

from hptl_train.recipe.recipe import (
    AnyRecipe,
    Recipe,
    RivalRecipe,
    load_chain,
    load_recipe,
    parse_any,
    parse_recipe,
    recipe_names,
    recipes_folder,
)
from hptl_train.recipe.tables import (
    RANDOM,
    SOURCE_PHOTOGRAPHS,
    WEIGHTS,
    AugmentationTable,
    ComputeTable,
    OptimiserTable,
    ScheduleTable,
    StepTable,
    ValidationTable,
)
from hptl_train.recipe.wishes import Wishes

__all__ = [
    "RANDOM",
    "SOURCE_PHOTOGRAPHS",
    "WEIGHTS",
    "AnyRecipe",
    "AugmentationTable",
    "ComputeTable",
    "OptimiserTable",
    "Recipe",
    "RivalRecipe",
    "ScheduleTable",
    "StepTable",
    "ValidationTable",
    "Wishes",
    "load_chain",
    "load_recipe",
    "parse_any",
    "parse_recipe",
    "recipe_names",
    "recipes_folder",
]
