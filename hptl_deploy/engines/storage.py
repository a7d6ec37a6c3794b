"""Where engines lie: in the model's folder, or with the user where that cannot be written to.

A model that was installed with the program, or that a network share shows to everyone, is often
in a folder that its user may only read.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_cache_path

from hptl_deploy.errors import EnvironmentLacks

if TYPE_CHECKING:
    from hptl_deploy.model import Model

ENGINES_FOLDER = "engines"
"""Inside the model's folder, and inside the user's cache."""


def cache_folder() -> Path:
    """Where this user's programs keep what they can make again."""
    return user_cache_path("hptl-deploy", appauthor=False)


def engine_folders(model: Model) -> tuple[Path, Path]:
    """Folders that may hold engines of `model`, the one beside it first; neither need exist.

    The user's own is named after the model file's content, so that models of one name do not meet.
    """
    own = cache_folder() / ENGINES_FOLDER / f"{model.path.parent.name}-{model.sha256[:12]}"
    return model.path.parent / ENGINES_FOLDER, own


def writable_engine_folder(model: Model) -> Path:
    """The first of `engine_folders` that takes a file, made if need be.

    Raises EnvironmentLacks where none does.
    """
    for folder in engine_folders(model):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Rights say less than an attempt: shares and Windows have rules of their own.
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    places = " nor ".join(map(str, engine_folders(model)))
    raise EnvironmentLacks(
        f"model {model.card.name}: its engine can be written neither to {places}",
        hint="Make one of them writable, or copy the model's folder to where you may write",
    )
