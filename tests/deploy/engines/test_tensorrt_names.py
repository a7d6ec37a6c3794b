"""Every name of TensorRT's that the sources use exists in TensorRT for RTX.

The sources are read, not a list: what a variable holds follows from annotations, from how it was
made, and from what the library's own docstrings say that a call returns. Where only that much is
known, that it is the library's (`Trt`), some class of it must have the name.
"""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import hptl_deploy
import hptl_export
from support import stand_in_tensorrt

LIBRARY = pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx")
CLASSES = [each for each in vars(LIBRARY).values() if inspect.isclass(each)]
FOLDERS = (
    Path(hptl_deploy.__file__).parent / "engines",
    Path(hptl_export.__file__).parent / "engine",
)
SOURCES = [
    path
    for folder in FOLDERS
    for path in sorted(folder.rglob("*.py"))
    if re.search(r"\b[Tt]rt\b", path.read_text(encoding="utf-8"))
]


class Some:
    """A value of the library's, of a class that is not known."""


SOME = Some()


class An:
    """An instance of a class of the library's."""

    def __init__(self, of: type) -> None:
        self.of = of


class Items:
    """A list of such."""

    def __init__(self, each: Any) -> None:
        self.each = each


class Method:
    """A method of such an instance."""

    def __init__(self, docstring: str) -> None:
        self.docstring = docstring


def returned(docstring: str) -> Any:
    """What a call gives, as its docstring has it: `-> tensorrt_rtx....INetworkDefinition`."""
    match = re.search(r"-> *(?:[\w.]+\.|nvinfer1::)?(\w+)", docstring)
    named = getattr(LIBRARY, match.group(1), None) if match else None
    return An(named) if inspect.isclass(named) else None


def each(items: Any) -> Any:
    """What a list holds; of what is not known to be one, itself."""
    return items.each if isinstance(items, Items) else items


class Names(ast.NodeVisitor):
    """Finds uses and checks each; `used` are `Class.name` or `name`."""

    def __init__(self, source: str) -> None:
        tree = ast.parse(source)
        self.known: dict[str, Any] = {"trt": LIBRARY}
        self.used: set[str] = set()
        self.missing: list[str] = []
        # What the source itself asks for before it uses it.
        self.asked = {
            f"{ast.unparse(node.args[0])}.{node.args[1].value!s}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and ast.unparse(node.func) == "hasattr"
            and isinstance(node.args[1], ast.Constant)
        }
        self.visit(tree)

    def annotated(self, annotation: ast.expr | None) -> Any:
        text = ast.unparse(annotation) if annotation else ""
        found: Any = SOME if re.search(r"\bTrt\b", text) else None
        if match := re.search(r"\btrt\.(\w+)", text):
            found = self.check(LIBRARY, match.group(1))
            found = An(found) if inspect.isclass(found) else None
        return Items(found) if found and "list[" in text else found

    def visit_arg(self, node: ast.arg) -> None:
        self.known[node.arg] = self.annotated(node.annotation)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.generic_visit(node)
        self.known[ast.unparse(node.target)] = self.annotated(node.annotation)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self.visit(target)
            self.known[ast.unparse(target)] = self.value(node.value)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self.visit(node.iter)
        self.known[ast.unparse(node.target)] = each(self.value(node.iter))
        for condition in node.ifs:
            self.visit(condition)

    def visit_ListComp(self, node: ast.ListComp | ast.GeneratorExp) -> None:
        for generator in node.generators:
            self.visit(generator)
        self.visit(node.elt)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self.visit_ListComp(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for base in node.bases:
            value = self.value(base)
            if inspect.isclass(value):
                for method in node.body:
                    if isinstance(method, ast.FunctionDef):
                        self.check(An(value), method.name)
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.visit(node.value)
        self.value(node)

    def value(self, node: ast.expr) -> Any:
        """What an expression holds, as far as it is the library's; else None."""
        text = ast.unparse(node)
        if text in self.known:
            return self.known[text]
        if isinstance(node, ast.Attribute):
            if node.attr == "trt":
                return LIBRARY
            owner = self.value(node.value)
            asked = owner is None or text in self.asked
            return None if asked else self.check(owner, node.attr)
        if isinstance(node, ast.Call):
            return self.result(self.value(node.func))
        if isinstance(node, ast.ListComp):
            return Items(self.value(node.elt))
        return each(self.value(node.value)) if isinstance(node, ast.Subscript) else None

    def result(self, function: Any) -> Any:
        """What a call gives."""
        if isinstance(function, Method):
            return returned(function.docstring)
        if inspect.isclass(function):
            return An(function)
        return SOME if function is SOME else None

    def check(self, owner: Any, name: str) -> Any:
        if owner is SOME:
            self.used.add(name)
            if not any(hasattr(each, name) for each in CLASSES):
                self.missing.append(name)
            return SOME
        if isinstance(owner, Method | Items):
            return None
        of = owner.of if isinstance(owner, An) else owner
        self.used.add(f"{of.__name__}.{name}" if of is not LIBRARY else name)
        if not hasattr(of, name):
            self.missing.append(f"{of.__name__}.{name}")
            return None
        found = inspect.getattr_static(of, name)
        if not isinstance(owner, An):
            return getattr(of, name)
        if isinstance(found, property):
            return returned(str(found.fget and found.fget.__doc__)) or None
        return Method(str(found.__doc__))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_every_name_exists(source: Path) -> None:
    assert Names(source.read_text(encoding="utf-8")).missing == []


def test_the_reading_finds_what_is_used() -> None:
    used = set().union(*(Names(path.read_text(encoding="utf-8")).used for path in SOURCES))
    assert used >= {
        "Runtime",
        "Runtime.deserialize_cuda_engine",
        "ICudaEngine.get_tensor_profile_shape",
        "ICudaEngine.create_execution_context",
        "ICudaEngine.num_optimization_profiles",
        "IExecutionContext.execute_async_v3",
        "IExecutionContext.set_tensor_address",
        "IExecutionContext.update_device_memory_size_for_shapes",
        "IRuntimeConfig.set_execution_context_allocation_strategy",
        "IRuntimeConfig.set_runtime_cache",
        "IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy",
        "DynamicShapesKernelSpecializationStrategy.EAGER",
        "IRuntimeCache.serialize",
        "ILogger.log",
        "Builder",
        "OnnxParser",
    }


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("x = flavour.trt.NoSuchThing", ["tensorrt_rtx.NoSuchThing"]),
        ("def f(e: trt.ICudaEngine): e.max_batch_size", ["ICudaEngine.max_batch_size"]),
        ("def f(e: list[trt.ICudaEngine]):\n e.clear()\n e[0].clear()", ["ICudaEngine.clear"]),
        ("def f(e: trt.ICudaEngine):\n c = e.create_execution_context()\n c.execute_async_v2([])",
         ["IExecutionContext.execute_async_v2"]),
        ("b = trt.Builder(l)\nn = b.create_network(0)\nn.add_nothing()",
         ["INetworkDefinition.add_nothing"]),
        ("def f(x: Trt):\n y = x.create_network(0)\n y.max_workspace_size", ["max_workspace_size"]),
        ("def f(x: Trt): return [t.no_such_name for t in x.layers]", ["no_such_name", "layers"]),
        ("class L(trt.ILogger):\n def logg(self): ...", ["ILogger.logg"]),
        ("if hasattr(trt.BuilderFlag, 'GONE'): trt.BuilderFlag.GONE", []),
        ("def f(x: trt.INoSuchClass): ...", ["tensorrt_rtx.INoSuchClass"]),
    ],
)  # fmt: skip
def test_a_name_that_does_not_exist_is_found(source: str, missing: list[str]) -> None:
    assert sorted(set(Names(source).missing)) == sorted(missing)


@pytest.mark.parametrize(
    "name",
    [
        "ILogger", "Runtime", "ICudaEngine", "IRuntimeConfig", "IRuntimeCache", "IExecutionContext",
        "TensorIOMode", "DataType", "ExecutionContextAllocationStrategy",
        "DynamicShapesKernelSpecializationStrategy",
    ],
)  # fmt: skip
def test_the_stand_in_has_nothing_that_the_library_lacks(name: str) -> None:
    ours, theirs = getattr(stand_in_tensorrt, name), getattr(LIBRARY, name)
    names = {each for each in vars(ours) if not each.startswith("_")}
    assert names
    assert not {each for each in names if not hasattr(theirs, each)}
