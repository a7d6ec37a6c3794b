"""Counted operations against the closed form and against counting by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hptl_deploy.bench.work import operations, operations_of
from hptl_deploy.bundled import BUNDLED, bundled_models_folder
from hptl_deploy.errors import ModelError
from hptl_deploy.model import MODEL_FILE, load_model


def closed_form(channels: tuple[int, ...], fc: int, phases: int, scale: int) -> float:
    """Operations per micrograph pixel of an FCN-8s on VGG-19, from its drawing."""
    products, incoming = 0.0, 3
    for block, (count, width) in enumerate(zip((2, 2, 4, 4, 4), channels, strict=True)):
        for _ in range(count):
            products += 9 * incoming * width / 4**block
            incoming = width
    at32, at16, at8 = 1 / 4**5, 1 / 4**4, 1 / 4**3
    products += (49 * channels[4] * fc + fc * fc + fc * phases) * at32
    products += channels[3] * phases * at16 + channels[2] * phases * at8
    # Deconvolutions: every pixel read is spread by K x K kernels of (2 s)^2.
    products += phases * phases * (16 * at32 + 16 * at16 + 256 * at8)
    enlargement = 3 * scale**2 * 9 if scale > 1 else 0
    return 2 * (products * scale**2 + enlargement)


def test_the_closed_form_is_the_paper_size() -> None:
    full = closed_form((64, 128, 256, 512, 512), 4096, 3, 1)
    assert full == pytest.approx(1.01e6, rel=0.005)
    assert full * 2560 * 1920 == pytest.approx(4.97e12, rel=0.005)


def test_the_bundled_model_is_counted_as_its_card_says() -> None:
    folder = bundled_models_folder()
    assert folder is not None
    model = load_model(folder / BUNDLED / MODEL_FILE)
    card = model.card
    height, width = 6 * card.stride, 10 * card.stride
    expected = closed_form(card.channels, card.fc, len(card.phases), card.input_scale)
    assert operations(model.path, height, width) == pytest.approx(expected * height * width)


def test_a_model_in_memory_stays_as_it_is() -> None:
    folder = bundled_models_folder()
    assert folder is not None
    path = folder / BUNDLED / MODEL_FILE
    proto = onnx.load(str(path))
    assert operations_of(proto, "it", 64, 96) == operations(path, 64, 96)
    assert proto == onnx.load(str(path))


def written(path: Path, nodes: list[onnx.NodeProto], weights: dict[str, tuple[int, ...]]) -> Path:
    graph = helper.make_graph(
        [helper.make_node("Cast", ["micrograph"], ["wide"], to=TensorProto.FLOAT), *nodes],
        "counted",
        [helper.make_tensor_value_info("micrograph", TensorProto.UINT8, ["N", "H", "W", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.zeros(s, np.float32), name) for name, s in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


def moved(name: str = "x") -> onnx.NodeProto:
    return helper.make_node("Transpose", ["wide"], [name], perm=[0, 3, 1, 2])


def test_strides_and_groups_are_counted_at_the_output(tmp_path: Path) -> None:
    conv = helper.make_node("Conv", ["x", "w"], ["y"], strides=[2, 2], pads=[1] * 4, group=3)
    path = written(tmp_path / "m.onnx", [moved(), conv], {"w": (6, 1, 3, 3)})
    assert operations(path, 32, 64) == 2 * (16 * 32) * 6 * 9


def test_a_deconvolution_is_counted_at_its_input(tmp_path: Path) -> None:
    wide = helper.make_node(
        "ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], pads=[1] * 4, kernel_shape=[4, 4]
    )
    path = written(tmp_path / "m.onnx", [moved(), wide], {"w": (3, 5, 4, 4)})
    assert operations(path, 32, 64) == 2 * (32 * 64) * 3 * 5 * 16


@pytest.mark.parametrize("transposed", [0, 1])
def test_a_fully_connected_layer(tmp_path: Path, transposed: int) -> None:
    # 1200 weights, more than is looked at, and a mean over all pixels in front.
    weights: dict[str, tuple[int, ...]] = {"w": (3, 400)}
    mean = helper.make_node("ReduceMean", ["x"], ["means"], axes=[2, 3], keepdims=0)
    nodes = [moved(), mean]
    if transposed:
        nodes.append(helper.make_node("Transpose", ["means"], ["left"], perm=[1, 0]))
    gemm = helper.make_node("Gemm", ["left" if transposed else "means", "w"], ["y"],
                            transA=transposed)  # fmt: skip
    path = written(tmp_path / "m.onnx", [*nodes, gemm], weights)
    assert operations(path, 32, 64) == 2 * 3 * 400


def test_a_shape_that_nobody_knows_is_no_guess(tmp_path: Path) -> None:
    odd = helper.make_node("NonZero", ["wide"], ["places"])
    cast = helper.make_node("Cast", ["places"], ["flat"], to=TensorProto.FLOAT)
    axes = numpy_helper.from_array(np.array([0, 1]), "axes")
    more = helper.make_node("Unsqueeze", ["flat", "axes"], ["x"])
    conv = helper.make_node("Conv", ["x", "w"], ["y"], name="last", kernel_shape=[1, 1])
    path = written(tmp_path / "m.onnx", [odd, cast, more, conv], {"w": (1, 1, 1, 1)})
    model = onnx.load(str(path))
    model.graph.initializer.append(axes)
    onnx.save(model, str(path))
    with pytest.raises(ModelError) as caught:
        operations(path, 32, 64)
    assert str(caught.value) == (
        f"{path}: the operations of node last cannot be counted, because the shape of 'y' is not "
        "known"
    )
