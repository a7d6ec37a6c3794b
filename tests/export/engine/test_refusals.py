"""Models that no engine can be built from: one sentence each, and nothing written."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hptl_deploy.engines.flavour import Flavour
from hptl_deploy.engines.record import Fit
from hptl_deploy.errors import EngineError, HptlError, ModelError
from hptl_deploy.model import INPUT, Model
from hptl_export.engine.build import build_engine
from support.engine_models import (
    MISFIT,
    Constants,
    fit,
    hostile_model,
    small_model,
    unchecked,
    written,
)
from support.sinks import Recorder


def test_nothing_is_printed(
    tmp_path: Path, rtx: Flavour, capfd: pytest.CaptureFixture[str]
) -> None:
    model = small_model(tmp_path / "good")
    build_engine(model, rtx, fit(model, rtx), Recorder())
    refusal(hostile_model(tmp_path / "bad", *MISFIT), rtx)
    assert capfd.readouterr() == ("", "")


def refusal(model: Model, flavour: Flavour) -> HptlError:
    with pytest.raises(HptlError) as caught:
        build_engine(model, flavour, fit(model, flavour), Recorder())
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500 + len(str(model.path))
    assert not (model.path.parent / "engines").exists()
    return caught.value


def test_an_error_that_is_kept_holds_no_builder(
    tmp_path: Path, rtx: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The garbage collector would end it inside a later builder's call, which never returns."""
    builders: list[weakref.ref[Any]] = []
    made = rtx.trt.Builder

    def builder(logger: Any) -> Any:
        new = made(logger)
        builders.append(weakref.ref(new))
        return new

    monkeypatch.setattr(rtx.trt, "Builder", builder)
    error = refusal(hostile_model(tmp_path / "bad", *MISFIT), rtx)
    assert error.__traceback__ is not None
    assert [builder() for builder in builders] == [None]


def node(kind: str, *inputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, ["levels", *inputs], ["x"], **attributes)


def sizes(*numbers: int) -> Constants:
    return {"s": np.array(numbers, np.int64)}


@pytest.mark.parametrize(
    ("nodes", "constants", "error", "reason"),
    [
        (*MISFIT, ModelError,
         "operator Conv: Assertion failed: (nchan == -1 || kernelWeights.shape.d[1] * ngroup == "
         "nchan): Kernel weight dimension failed to broadcast to input"),
        ([node("Conv", "w", strides=[0, 0])], {"w": np.zeros((2, 3, 3, 3), np.float32)},
         ModelError, "operator Conv: API Usage Error (Parameter check failed"),
        ([node("Pad", "s")], sizes(0, 0, 1 << 33, 0, 0, 0, 0, 0), ModelError, "operator Pad: "),
        ([node("Expand", "s")], sizes(1, 1 << 40, 1, 1), EngineError,
         "API Usage Error (ISliceLayer "),
        ([helper.make_node("Resize", ["levels", "", "f"], ["x"], mode="nearest")],
         {"f": np.array([1, 1, 1e6, 1e6], np.float32)}, EngineError,
         "API Usage Error (IResizeLayer node_of_x: x: tensor volume exceeds "),
        ([node("Cast", to=TensorProto.STRING)], {}, ModelError, "operator Cast: "),
    ],
)  # fmt: skip
def test_a_graph_that_cannot_be_built(
    tmp_path: Path,
    rtx: Flavour,
    nodes: list[onnx.NodeProto],
    constants: Constants,
    error: type[HptlError],
    reason: str,
) -> None:
    model = hostile_model(tmp_path, nodes, constants)
    found = refusal(model, rtx)
    assert type(found) is error
    start = (
        f"{model.path}: TensorRT for RTX cannot build it ({reason}"
        if error is ModelError
        else f"{model.path}: TensorRT for RTX {rtx.version} failed to build it for frame "
        f"1x120x160, tiles 1x8x8 to 4x1024x1024 ({reason}"
    )
    assert str(found).startswith(start)


def test_uint8_inside_is_named(tmp_path: Path, rtx: Flavour) -> None:
    make = helper.make_node
    model = written(
        tmp_path,
        [
            make("Gather", [INPUT, "zero"], ["narrow"], axis=3),
            make("Cast", ["narrow"], ["wide"], to=TensorProto.FLOAT),
            make("Cast", ["wide"], ["classes"], to=TensorProto.UINT8),
            make("Cast", ["wide"], ["confidence"], to=TensorProto.UINT8),
        ],
        {"zero": np.array(0, np.int64)},
    )
    found = refusal(model, rtx)
    assert str(found).startswith(f"{model.path}: TensorRT for RTX cannot build it (operator ")
    assert "uint8" in str(found).lower()


def resized(model: Model, *shape: str | int) -> Model:
    proto = onnx.load(model.path)
    for dimension, length in zip(
        proto.graph.input[0].type.tensor_type.shape.dim, shape, strict=True
    ):
        dimension.Clear()
        if isinstance(length, int):
            dimension.dim_value = length
        else:
            dimension.dim_param = length
    onnx.save(proto, str(model.path))
    return unchecked(model.path)


def test_one_size_only(tmp_path: Path, rtx: Flavour) -> None:
    model = resized(small_model(tmp_path), "N", 64, 64, 3)
    assert str(refusal(model, rtx)) == (
        f"{model.path}: takes one size only (64 along an axis), expected any N, H and W. Export "
        "the model again with this version"
    )


def test_another_interface(tmp_path: Path, rtx: Flavour) -> None:
    plain = hostile_model(tmp_path, [node("ReduceMax", axes=[1], keepdims=1)])
    model = resized(plain, "N", "H", "W", 4)
    assert str(refusal(model, rtx)) == (
        f"{model.path}: takes 4 channels, expected 3 (red, green, blue). Export the model again "
        "with this version"
    )


def test_cards_that_the_flavour_does_not_know(tmp_path: Path, rtx: Flavour) -> None:
    # One it has no name for can only be the card at hand, and here is none.
    model = small_model(tmp_path)
    wish = Fit(**{**vars(fit(model, rtx)), "gpu": ("6.1",)})
    with pytest.raises(EngineError) as caught:
        build_engine(model, rtx, wish, Recorder())
    assert f"TensorRT for RTX {rtx.version} " in str(caught.value)
    assert "\n" not in str(caught.value)
