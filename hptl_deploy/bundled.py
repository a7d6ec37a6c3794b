"""Where the model lies that comes with the program.

It runs where nobody has trained one yet. It learned from synthetic micrographs of as-cast
aluminium alone, which its card says, too.
"""

from __future__ import annotations

from pathlib import Path

from hptl_deploy.model import MODEL_FILE

BUNDLED = "aluminium-demo"


def bundled_models_folder() -> Path | None:
    """The folder that holds the bundled model's folder; None in a copy that lacks the model.

    In a wheel it lies inside the package, in a checkout beside it.
    """
    package = Path(__file__).parent
    for folder in (package / "models", package.parent / "models"):
        if (folder / BUNDLED / MODEL_FILE).is_file():
            return folder
    return None
