"""Hostile models through the commands and through ONNX Runtime: a result, or one sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from hptl_deploy.cli.main import run
from hptl_deploy.engines import open_engine
from hptl_deploy.errors import EngineError, HptlError, ModelError
from hptl_deploy.model import load_model
from hptl_deploy.models_folder import find_model, set_default
from support.drawings import folder_of, rectangles, save
from support.hostile_models import (
    add_node,
    add_tensor,
    both,
    mutated_bytes,
    mutated_graph,
    outside,
    with_fields,
)
from support.model_errors import sentence
from support.onnx_models import argmax_graph, edited, with_graph
from support.threshold_model import write_threshold_model

Capture = pytest.CaptureFixture[str]


def test_every_command_says_it_in_one_sentence(tmp_path: Path, capsys: Capture) -> None:
    def move_out(model: onnx.ModelProto) -> None:
        outside(model.graph.initializer[0], "../weights.bin")

    path = write_threshold_model(tmp_path / "models")
    model = onnx.load(str(path))
    move_out(model)
    path.write_bytes(model.SerializeToString())  # `onnx.save` would look for the weights
    models, source = tmp_path / "models", folder_of(tmp_path / "in", 1)
    before = sorted(tmp_path.rglob("*"))
    for line in (
        ["info", str(path)],
        ["use", "threshold", "--models", str(models)],
        ["segment", str(source), "--model", str(path), "--device", "cpu"],
        ["features", str(path), str(source / "m00.png"), "--out", str(tmp_path / "maps.png")],
        ["demo", str(tmp_path / "demo"), "--model", str(path), "--device", "cpu"],
    ):
        assert run(line) == 2
        said, noted = capsys.readouterr()
        assert said == ""
        assert noted == (
            f"hptl-deploy: {path}: keeps weights outside the file (../weights.bin); expected one "
            "file that holds everything. Export the model again with this version\n"
        )
    assert sorted(tmp_path.rglob("*")) == before


def test_a_card_is_shown_without_being_obeyed(tmp_path: Path, capsys: Capture) -> None:
    path = with_fields(tmp_path, name="\x1b]0;owned\x07model")
    assert run(["info", str(path)]) == 2
    assert capsys.readouterr().err == (
        f"hptl-deploy: {path}: its model card is not JSON (`name` holds the control character "
        "'\\x1b'). Export the model again\n"
    )


def test_more_classes_than_phases(tmp_path: Path, capsys: Capture) -> None:
    """Five scores, three phases on the card: what would be painted black fails instead."""
    path = with_graph(tmp_path / "models", argmax_graph([[0.0] * 3] * 4 + [[1.0] * 3]))
    source = folder_of(tmp_path / "in", 1)
    out = tmp_path / "out"
    arguments = ["--model", str(path), "--device", "cpu", "--out", str(out), "--json"]
    assert run(["segment", str(source), *arguments]) == 1
    (failure,) = json.loads(capsys.readouterr().out)["failures"]
    assert failure["stage"] == "infer"
    assert failure["reason"] == (
        "the class map holds index 4, the model's card lists 3 phases (0 to 2). Export the model "
        "again"
    )
    assert not list(out.glob("*_classes.tif"))


def test_outputs_of_another_size_than_the_micrograph(tmp_path: Path) -> None:
    """Squeezed of every axis of length 1, which a batch of one has."""

    def squeeze_all(model: onnx.ModelProto) -> None:
        node = next(node for node in model.graph.node if node.output[0] == "classes")
        del node.input[1]

    path = edited(tmp_path, squeeze_all)
    with (
        open_engine(load_model(path), "cpu") as engine,
        pytest.raises(EngineError) as caught,
    ):
        engine.infer(np.zeros((1, 16, 24, 3), np.uint8))
    assert str(caught.value) == (
        "model threshold: gave classes [16, 24] and confidence [1, 16, 24], expected [1, 16, 24] "
        "both. Export the model again"
    )


def test_memory_without_end(tmp_path: Path, capsys: Capture) -> None:
    """From a size that is only known when it runs: 2^60 numbers of the blackest picture."""
    grow = both(
        add_tensor("many", np.array(2**60, np.int64)),
        add_tensor("zero", np.array(0, np.int64)),
        add_tensor("last", np.array([1], np.int64)),
        add_node("Cast", "level", to=onnx.TensorProto.INT64),
    )

    def edit(model: onnx.ModelProto) -> None:
        grow(model)
        graph = model.graph
        del graph.node[-1]
        make = onnx.helper.make_node
        extra = [
            make("ReduceMax", ["grey"], ["lightest"], keepdims=0),
            make("Cast", ["lightest"], ["whole"], to=onnx.TensorProto.INT64),
            make("Equal", ["whole", "whole"], ["true"]),
            make("Where", ["true", "many", "zero"], ["length"]),
            make("Unsqueeze", ["length", "axis0"], ["shape"]),
            make("Expand", ["half", "shape"], ["endless"]),
            make("ReduceMax", ["endless"], ["largest"], keepdims=0),
            make("Mul", ["grey", "largest"], ["scaled"]),
        ]
        add_tensor("axis0", np.array([0], np.int64))(model)
        nodes = [*graph.node]
        for node in nodes[3:]:
            for place, name in enumerate(node.input):
                if name == "grey":
                    node.input[place] = "scaled"
        del graph.node[:]
        graph.node.extend([*nodes[:3], *extra, *nodes[3:]])

    path = edited(tmp_path / "models", edit)
    source = tmp_path / "in"
    save(source / "a.png", rectangles(32, 32, grey=(0, 8, 0, 8), dark=(8, 16, 8, 16)))
    assert run(["segment", str(source), "--model", str(path), "--device", "cpu", "--json"]) == 1
    (failure,) = json.loads(capsys.readouterr().out)["failures"]
    assert failure["stage"] == "infer"
    assert failure["reason"].startswith("model threshold: ")


@pytest.mark.parametrize(
    "content",
    [
        b"../../elsewhere/threshold\n", b"..\n", b".\n", b"/\n", b"", b"\n\n", b"one\ntwo\n",
        b"threshold\0\n", b"\xff\xfe\x00", b"\x1b[2J\n", b"x" * 10_000,
    ],
)  # fmt: skip
def test_a_default_that_names_no_model_of_the_folder(tmp_path: Path, content: bytes) -> None:
    write_threshold_model(tmp_path / "elsewhere")
    models = tmp_path / "a" / "models"
    write_threshold_model(models, name="one")
    (models / "default").write_bytes(content)
    found = sentence(lambda: find_model(None, models))
    assert found.startswith(f"{models / 'default'} names model '")
    assert found.endswith(
        f", which {models} does not hold. Choose another with `hptl-deploy use NAME`"
    )
    assert found.isprintable()
    assert len(found) < 2 * len(str(models)) + 200


@pytest.mark.skipif(sys.platform == "win32", reason="a file with holes has to be asked for there")
def test_a_default_of_a_gigabyte(tmp_path: Path) -> None:
    write_threshold_model(tmp_path)
    with (tmp_path / "default").open("wb") as file:
        file.truncate(2**30)
    assert sentence(lambda: find_model(None, tmp_path)).startswith(
        f"{tmp_path / 'default'} names model '\\x00\\x00"
    )


@pytest.mark.parametrize("name", ["../threshold", "threshold/", "./threshold", "..", ""])
def test_use_takes_a_name_and_no_path(tmp_path: Path, name: str) -> None:
    write_threshold_model(tmp_path / "models")
    write_threshold_model(tmp_path)
    assert sentence(lambda: set_default(tmp_path / "models", name)).startswith(
        f"model {name}: {tmp_path / 'models'} does not hold it ("
    )


def test_a_broken_model_does_not_become_the_default(tmp_path: Path) -> None:
    broken = write_threshold_model(tmp_path, name="broken")
    broken.write_bytes(b"no model")
    write_threshold_model(tmp_path, name="good")
    with pytest.raises(ModelError):
        set_default(tmp_path, "broken")
    assert (tmp_path / "default").read_text() == "good\n"


def test_mutated_bytes_are_a_model_or_a_sentence(tmp_path: Path) -> None:
    whole = write_threshold_model(tmp_path, smoothing=2).read_bytes()
    path, outcomes = tmp_path / "mutated.onnx", Counter[str]()
    for seed in range(500):
        path.write_bytes(mutated_bytes(whole, seed))
        outcomes[outcome(path)] += 1
    assert outcomes["refused"] > outcomes["taken"] > 5


def test_mutated_graphs_are_a_model_or_a_sentence(tmp_path: Path) -> None:
    path = write_threshold_model(tmp_path, smoothing=2)
    whole, outcomes = onnx.load(str(path)), Counter[str]()
    for seed in range(500):
        path.write_bytes(mutated_graph(whole, seed).SerializeToString())
        outcomes[outcome(path)] += 1
    assert outcomes["refused"] > outcomes["taken"] > 5


def outcome(path: Path) -> str:
    try:
        load_model(path)
    except ModelError as exc:
        assert str(exc).startswith(f"{path}: ")
        assert str(exc).isprintable()
        return "refused"
    return "taken"


def infer_mutated(folder: Path) -> None:
    """Open what is not refused and run it once; prints what came of all, as JSON."""
    path, outcomes = write_threshold_model(folder, smoothing=2), Counter[str]()
    content, whole = path.read_bytes(), onnx.load(str(path))
    for seed in range(10_000, 10_400):
        sound = mutated_graph(whole, seed).SerializeToString()
        path.write_bytes(sound if seed % 4 else mutated_bytes(content, seed))
        try:
            with open_engine(load_model(path), "cpu") as engine:
                batch = np.zeros((1, 16, 16, 3), np.uint8)
                shape = engine.infer(batch).classes.shape
                outcomes["ran" if shape == (1, 16, 16) else "wrong"] += 1
        except HptlError as exc:
            assert str(exc).isprintable()
            outcomes[type(exc).__name__] += 1
    print(json.dumps(outcomes))  # noqa: T201


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are set another way there")
def test_what_is_not_refused_does_not_bring_the_process_down(tmp_path: Path) -> None:
    """ONNX Runtime divides by zero or follows null pointers on some graphs: none gets there."""
    script = (
        "import resource, sys; from pathlib import Path\n"
        "resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))\n"
        f"sys.path[:0] = {sys.path!r}\n"
        "from deploy.test_hostile_runs import infer_mutated\n"
        f"infer_mutated(Path({str(tmp_path)!r}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-500:]
    outcomes = json.loads(done.stdout.splitlines()[-1])
    assert "wrong" not in outcomes
    assert min(outcomes["ran"], outcomes["ModelError"]) > 5
