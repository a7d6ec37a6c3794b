"""Which model a name means: a file, a folder, the models folder's, the bundled one."""

from __future__ import annotations

from pathlib import Path

from hptl_deploy import bundled
from hptl_deploy.bundled import BUNDLED
from hptl_deploy.errors import ModelError
from hptl_deploy.files import write_text
from hptl_deploy.model import MODEL_FILE, load_model
from hptl_deploy.wording import shown_value

DEFAULT_FILE = "default"
"""One line in the models folder: the name of the model that runs without `--model`."""
_LONGEST_POINTER = 4096
"""Bytes that are read of it; no file system has names so long."""


def find_model(name: str | None, folder: Path) -> Path:
    """The ONNX file that `name` means: a file, a model folder, or a name under `folder`.

    The bundled model's name means the bundled model where `folder` holds none of that name.
    Without a name: what `folder/default` says, else the bundled model. Raises ModelError when
    there is none.
    """
    if name is None:
        return _default_model(folder)
    given, comes_along = Path(name), _bundled_model()
    places = [given, folder / name]
    if comes_along is not None and given.parts[:1] == (BUNDLED,):
        places.append(comes_along.parents[1] / name)
    for candidate in places:
        if candidate.is_file() and candidate.suffix == ".onnx":
            return candidate
        # Any other file, an engine say, stands for the model of its folder.
        whole = (candidate.parent if candidate.is_file() else candidate) / MODEL_FILE
        if whole.is_file():
            return whole
    raise ModelError(
        f"model {name}: found neither a file or folder of that name with a {MODEL_FILE} in it "
        f"nor a model in {folder} ({_known(folder)})"
    )


def model_names(folder: Path) -> list[str]:
    """Names of the models in `folder`, sorted."""
    return sorted(path.parent.name for path in folder.glob(f"*/{MODEL_FILE}"))


def has_default(folder: Path) -> bool:
    """True where `folder` says which of its models runs without `--model`."""
    return (folder / DEFAULT_FILE).is_file()


def set_default(folder: Path, name: str) -> None:
    """Make `name` what runs without `--model`.

    Raises ModelError when `folder` lacks it and when it could not run.
    """
    if name not in model_names(folder):
        message = f"model {name}: {folder} does not hold it ({_known(folder)})"
        if name != BUNDLED or _bundled_model() is None:
            raise ModelError(message)
        advice = f"It comes with the program: --model {name} runs it"
        if has_default(folder):
            advice += f", and so does leaving --model out once {folder / DEFAULT_FILE} is deleted"
        else:
            advice += ", and so does leaving --model out"
        raise ModelError(message, hint=advice)
    load_model(folder / name / MODEL_FILE)
    write_text(folder / DEFAULT_FILE, name + "\n")


def _known(folder: Path) -> str:
    names = model_names(folder)
    known = f"there: {', '.join(names) or 'none'}"
    more = BUNDLED not in names and _bundled_model() is not None
    return f"{known}; with the program: {BUNDLED}" if more else known


def _bundled_model() -> Path | None:
    folder = bundled.bundled_models_folder()
    return None if folder is None else folder / BUNDLED / MODEL_FILE


def _default_model(folder: Path) -> Path:
    pointer = folder / DEFAULT_FILE
    if not has_default(folder):
        comes_along = _bundled_model()
        if comes_along is not None:
            return comes_along
        raise ModelError(
            f"no model was named and the folder {folder} has no default",
            hint="Name one with --model, or train and export one first: "
            "`hptl-deploy train DATA`, then `hptl-deploy export`",
        )
    name = _pointed_at(pointer)
    # A name, not a path: what is chosen lies in this folder.
    if name not in model_names(folder):
        raise ModelError(
            f"{pointer} names model {shown_value(name)}, which {folder} does not hold",
            hint="Choose another with `hptl-deploy use NAME`",
        )
    return folder / name / MODEL_FILE


def _pointed_at(pointer: Path) -> str:
    """What a default file says; more than one line, or none, is no model's name."""
    try:
        with pointer.open("rb") as file:
            content = file.read(_LONGEST_POINTER)
    except OSError as exc:
        raise ModelError(f"{pointer}: cannot be read ({exc.strerror})") from exc
    return content.decode("utf-8-sig", errors="replace").strip()
