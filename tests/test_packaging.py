"""What is built from the checkout holds what an installation needs, and no more."""

from __future__ import annotations

import configparser
import importlib.util
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    for needed in ("build", "hatchling"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f'needs {needed}: pip install "hptl-deploy[dev]"')
    folder = tmp_path_factory.mktemp("wheel")
    ended = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        cwd=folder,  # not the checkout, whose `build` folder would be imported
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def modules(folder: Path) -> set[str]:
    return {path.relative_to(folder.parent).as_posix() for path in folder.rglob("*.py")}


def test_the_wheel_holds_every_module(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for package in ("hptl_deploy", "train/hptl_train", "export/hptl_export"):
        wanted = modules(ROOT / package)
        assert wanted
        assert wanted <= names


def test_recipes_models_and_marks_come_along(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    recipes = {
        f"hptl_train/recipes/{path.name}" for path in (ROOT / "train/recipes").glob("*.toml")
    }
    assert "hptl_train/recipes/hptl.toml" in recipes
    assert recipes <= names
    shipped = {name for name in names if name.startswith("hptl_deploy/models/")}
    assert shipped == {
        "hptl_deploy/models/README.md",
        "hptl_deploy/models/aluminium-demo/model.onnx",
    }
    assert "hptl_train/templates/run.html" in names
    templates = (ROOT / "hptl_deploy/report/templates").iterdir()
    assert {f"hptl_deploy/report/templates/{path.name}" for path in templates} <= names
    for package in ("hptl_deploy", "hptl_train", "hptl_export"):
        assert f"{package}/py.typed" in names


def test_nothing_else_comes_along(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    (info,) = (top for top in tops if top.endswith(".dist-info"))
    assert tops == {"hptl_deploy", "hptl_train", "hptl_export", info}
    for name in wheel.namelist():
        assert "test" not in Path(name).parts[:-1]
        assert not name.endswith((".pyc", ".hptl-part", ".log"))
    assert len(wheel.namelist()) == len(set(wheel.namelist()))


def test_the_licence_and_the_command(wheel: zipfile.ZipFile) -> None:
    (licence,) = (name for name in wheel.namelist() if name.endswith("/licenses/LICENSE"))
    assert wheel.read(licence) == (ROOT / "LICENSE").read_bytes()
    (entry,) = (name for name in wheel.namelist() if name.endswith("/entry_points.txt"))
    points = configparser.ConfigParser()
    points.read_string(wheel.read(entry).decode())
    assert dict(points["console_scripts"]) == {"hptl-deploy": "hptl_deploy.cli.main:main"}
    (metadata,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
    assert "License-Expression: Apache-2.0" in wheel.read(metadata).decode()


def test_what_is_installed_needs_no_torch(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    code = (
        "import sys; sys.modules['torch'] = None\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "import hptl_deploy.cli.main as main\n"
        f"assert main.__file__.startswith({str(tmp_path)!r}), main.__file__\n"
        "sys.exit(main.run(['--version']))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("hptl-deploy ")


def test_the_bundled_model_is_found_in_what_is_installed(
    wheel: zipfile.ZipFile, tmp_path: Path
) -> None:
    wheel.extractall(tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import hptl_deploy.cli.main as main\n"
        "sys.exit(main.run(['info', '--json']))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout)
    assert Path(document["path"]) == tmp_path / "hptl_deploy/models/aluminium-demo/model.onnx"
    assert document["synthetic"] is True
