"""The runtime never needs torch, and what a command does not use it does not load."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import hptl_deploy

PACKAGE = Path(hptl_deploy.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))


def module_name(source: Path) -> str:
    parts = source.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def in_fresh_interpreter(code: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_every_module_can_be_imported_without_torch() -> None:
    names = [module_name(source) for source in SOURCES]
    assert "hptl_deploy.engines.onnxruntime" in names
    in_fresh_interpreter(
        "import importlib, sys\n"
        "sys.modules['torch'] = None\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
    )


def imported(nodes: list[ast.stmt]) -> Iterator[str]:
    """Modules that these statements import when they run, not those of functions in them."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield node.module or ""
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from imported(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for _, field in ast.iter_fields(node):
                if isinstance(field, list):
                    yield from imported([item for item in field if isinstance(item, ast.stmt)])


@pytest.mark.parametrize("source", SOURCES, ids=module_name)
def test_no_module_imports_training_or_export(source: Path) -> None:
    tree = ast.parse(source.read_text(encoding="utf-8"))
    found = {name.split(".")[0] for name in imported(tree.body)}
    assert not found & {"torch", "hptl_train", "hptl_export", "lightning", "onnxscript"}
    everywhere = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in imported([node])
    }
    assert "torch" not in everywhere
    if source.parent.name != "cli":
        assert "hptl_train" not in everywhere


def test_the_command_line_loads_no_heavy_library() -> None:
    loaded = in_fresh_interpreter(
        "import sys, hptl_deploy.cli.main; print(*sys.modules, sep='\\n')"
    ).split()
    heavy = {
        "numpy", "torch", "onnx", "onnxruntime", "tifffile", "PIL", "scipy", "skimage",
        "imagecodecs", "psutil", "rich.progress", "hptl_train", "hptl_export",
    }  # fmt: skip
    assert "hptl_deploy.cli.segment" in loaded
    assert not heavy & set(loaded)
