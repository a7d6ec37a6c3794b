"""The paper's rivals without layers: OTSU and SVM.

Recipes are made of this package's tables, so that nothing here loads a rival's libraries
before one is wanted.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hptl_train.rivals.base import Rival

if TYPE_CHECKING:
    from hptl_train.recipe import RivalRecipe

__all__ = ["Rival", "load_rival", "make_rival"]


def make_rival(recipe: RivalRecipe) -> Rival:
    """The rival that `recipe` sets up, not fitted yet."""
    if recipe.otsu is not None:
        from hptl_train.rivals.otsu import Otsu

        return Otsu(recipe.otsu)
    from hptl_train.rivals.svm import Svm

    assert recipe.svm is not None
    return Svm(recipe.svm)


def load_rival(recipe: RivalRecipe, path: Path) -> Rival:
    """The rival of `recipe` with what it learned, from `path`. Raises RunError."""
    rival = make_rival(recipe)
    rival.load(path)
    return rival
