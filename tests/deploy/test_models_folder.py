"""Which model a name means, with and without one that comes with the program."""

from __future__ import annotations

from pathlib import Path

import pytest

from hptl_deploy import bundled
from hptl_deploy.bundled import BUNDLED, bundled_models_folder
from hptl_deploy.models_folder import find_model, has_default, model_names, set_default
from support.model_errors import sentence
from support.threshold_model import write_threshold_model


@pytest.fixture(autouse=True)
def no_bundled_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this checkout holds."""
    monkeypatch.setattr(bundled, "bundled_models_folder", lambda: None)


@pytest.fixture
def program(tmp_path: Path, no_bundled_model: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models folder of a program that came with its model."""
    folder = tmp_path / "program"
    path = write_threshold_model(folder, name=BUNDLED)
    (path.parent / "model.fp16.onnx").write_bytes(b"")
    write_threshold_model(folder, name="its owner's")  # exported into a checkout
    monkeypatch.setattr(bundled, "bundled_models_folder", lambda: folder)
    return folder


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    write_threshold_model(folder, name="one")
    write_threshold_model(folder, name="two")
    (folder / "empty").mkdir()
    return folder


def test_a_model_is_named_by_name_folder_or_file(models: Path, tmp_path: Path) -> None:
    one = models / "one" / "model.onnx"
    half = models / "one" / "model.fp16.onnx"
    half.write_bytes(b"")
    engine = models / "one" / "fp16.engine"
    engine.write_bytes(b"")
    assert find_model("one", models) == one
    assert find_model(str(models / "one"), tmp_path / "elsewhere") == one
    assert find_model(str(one), tmp_path / "elsewhere") == one
    assert find_model(str(half), models) == half
    assert find_model("one/model.fp16.onnx", models) == half
    assert find_model(str(engine), models) == one
    assert model_names(models) == ["one", "two"]


@pytest.mark.parametrize("name", ["three", "empty", "default", "one/gone.onnx"])
def test_a_name_that_is_no_model(models: Path, name: str) -> None:
    assert sentence(lambda: find_model(name, models)) == (
        f"model {name}: found neither a file or folder of that name with a model.onnx in it "
        f"nor a model in {models} (there: one, two)"
    )
    assert sentence(lambda: find_model(name, models / "gone")).endswith("(there: none)")


def test_the_default(models: Path) -> None:
    assert find_model(None, models) == models / "two" / "model.onnx"
    set_default(models, "one")
    assert (models / "default").read_bytes() == b"one\n"
    assert find_model(None, models) == models / "one" / "model.onnx"
    (models / "default").write_bytes("\ufefftwo\r\n".encode())  # as Windows' editor leaves it
    assert find_model(None, models) == models / "two" / "model.onnx"
    assert sentence(lambda: set_default(models, "three")) == (
        f"model three: {models} does not hold it (there: one, two)"
    )


@pytest.mark.parametrize("content", ["gone\n", "", "\n"])
def test_a_default_that_points_nowhere(models: Path, content: str) -> None:
    (models / "default").write_text(content)
    assert sentence(lambda: find_model(None, models)) == (
        f"{models / 'default'} names model {content.strip()!r}, which {models} does not hold. "
        "Choose another with `hptl-deploy use NAME`"
    )


def test_no_default(tmp_path: Path) -> None:
    assert sentence(lambda: find_model(None, tmp_path)) == (
        f"no model was named and the folder {tmp_path} has no default. Name one with --model, or "
        "train and export one first: `hptl-deploy train DATA`, then `hptl-deploy export`"
    )


def test_the_bundled_model_runs_where_there_is_no_default(models: Path, program: Path) -> None:
    own = program / BUNDLED / "model.onnx"
    assert find_model(None, models) == models / "two" / "model.onnx"
    (models / "default").unlink()
    assert not has_default(models)
    assert find_model(None, models) == own
    assert find_model(None, models / "gone") == own
    set_default(models, "one")
    assert has_default(models)
    assert find_model(None, models) == models / "one" / "model.onnx"


def test_the_bundled_model_is_known_by_name_everywhere(models: Path, program: Path) -> None:
    folder = program / BUNDLED
    assert find_model(BUNDLED, models) == folder / "model.onnx"
    assert find_model(f"{BUNDLED}/model.fp16.onnx", models) == folder / "model.fp16.onnx"
    mine = write_threshold_model(models, name=BUNDLED)
    assert find_model(BUNDLED, models) == mine


@pytest.mark.usefixtures("program")
@pytest.mark.parametrize("name", ["its owner's", f"{BUNDLED}/gone.onnx"])
def test_the_programs_folder_is_no_second_models_folder(models: Path, name: str) -> None:
    assert sentence(lambda: find_model(name, models)).startswith(f"model {name}: found neither")


def test_errors_name_the_bundled_model_once(models: Path, program: Path) -> None:
    for names, call in (
        ("there: one, two", lambda: find_model("three", models)),
        ("there: one, two", lambda: set_default(models, "three")),
        ("there: none", lambda: find_model("three", models / "gone")),
    ):
        assert sentence(call).endswith(f"({names}; with the program: {BUNDLED})")
    assert sentence(lambda: find_model("three", program)).endswith(
        f"(there: {BUNDLED}, its owner's)"
    )


def test_the_bundled_model_as_default_of_a_folder_without_it(models: Path, program: Path) -> None:
    begins = (
        f"model {BUNDLED}: {models} does not hold it (there: one, two; with the program: "
        f"{BUNDLED}). It comes with the program: --model {BUNDLED} runs it, and so does leaving "
        "--model out"
    )
    ends = f" once {models / 'default'} is deleted"
    assert sentence(lambda: set_default(models, BUNDLED)) == begins + ends
    (models / "default").unlink()
    assert sentence(lambda: set_default(models, BUNDLED)) == begins
    set_default(program, BUNDLED)
    assert find_model(None, program) == program / BUNDLED / "model.onnx"


def test_a_program_without_its_model(models: Path) -> None:
    assert sentence(lambda: set_default(models, BUNDLED)) == (
        f"model {BUNDLED}: {models} does not hold it (there: one, two)"
    )
    assert sentence(lambda: find_model(BUNDLED, models)).endswith("(there: one, two)")


def test_the_bundled_model_lies_in_the_package_or_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "hptl_deploy"
    monkeypatch.setattr(bundled, "__file__", str(package / "bundled.py"))
    (tmp_path / "models" / BUNDLED).mkdir(parents=True)  # without a model in it
    assert bundled_models_folder() is None
    write_threshold_model(tmp_path / "models", name=BUNDLED)
    assert bundled_models_folder() == tmp_path / "models"
    write_threshold_model(package / "models", name=BUNDLED)
    assert bundled_models_folder() == package / "models"
