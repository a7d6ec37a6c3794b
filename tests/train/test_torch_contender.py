"""A published model in torch again, and what it is timed against."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from hptl_deploy.bench import bench, peak, synthetic_frames
from hptl_deploy.bench.contenders import Contender
from hptl_deploy.bench.machine import cores
from hptl_deploy.errors import EngineError, ModelError
from hptl_deploy.model import Model, ModelCard, load_model
from hptl_deploy.sink import Silent
from hptl_export.files import without_logits, write_model
from hptl_export.graph import export_graph
from hptl_train import torch_contender
from hptl_train.from_onnx import segmenter_of
from hptl_train.networks import Segmenter
from hptl_train.networks.reach import halo
from hptl_train.networks.segmenter import stride_of
from hptl_train.torch_contender import FORMS, Form, laid_out, torch_contenders
from support.exported import card
from support.tiny import segmenter

FRAMES = synthetic_frames(96, 128)


def published(folder: Path, network: Segmenter, about: ModelCard) -> Model:
    path = folder / "model.onnx"
    proto = without_logits(export_graph(network, about.stride))
    write_model(proto, about, path)
    return load_model(path)


def about(kind: str, scale: int) -> ModelCard:
    tiny = card(scale)
    return replace(tiny, network=kind, stride=stride_of(scale), halo=halo(kind, scale))


def trained(kind: str, scale: int, mean: tuple[float, ...] = (0.4, 0.5, 0.6)) -> Segmenter:
    """No parameter is zero, and none equals another."""
    made = segmenter(kind, input_scale=scale)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return Segmenter(made.network, scale, mean, (0.2, 0.21, 0.22)).eval()


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """torch's number of threads belongs to the process, and so to the next test."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Published:
    """A network and its file."""

    network: Segmenter
    model: Model


@pytest.fixture(scope="module")
def fcn8s(tmp_path_factory: pytest.TempPathFactory) -> Published:
    network = trained("fcn8s", 1)
    return Published(network, published(tmp_path_factory.mktemp("fcn8s"), network, card(1)))


def same(one: Segmenter, other: Segmenter) -> bool:
    frame = torch.from_numpy(FRAMES.pictures[0])[None]
    with torch.inference_mode():
        return torch.equal(one(frame), other(frame))


def test_it_is_the_network_that_was_exported(fcn8s: Published) -> None:
    again = segmenter_of(fcn8s.model)
    assert not again.training
    assert same(again, fcn8s.network)
    own = fcn8s.network.state_dict()
    assert {n: torch.equal(t, own[n]) for n, t in again.state_dict().items()} == dict.fromkeys(
        own, True
    )


def test_another_network_at_another_scale(tmp_path: Path) -> None:
    network = trained("fcn16s", 3)
    assert same(segmenter_of(published(tmp_path, network, about("fcn16s", 3))), network)


def test_what_the_exporter_leaves_out_comes_back(tmp_path: Path) -> None:
    """Biases that are zero, and the second of two equal deconvolutions."""
    network = segmenter(input_scale=1)
    model = published(tmp_path, network, card(1))
    names = {tensor.name for tensor in onnx.load(str(model.path)).graph.initializer}
    assert "segmenter.network.conv1_1.bias" not in names
    assert "segmenter.network.upscore_pool4.weight" not in names
    assert same(segmenter_of(model), network)


def test_another_precision_is_refused(fcn8s: Published) -> None:
    model = fcn8s.model
    half = replace(model, card=replace(model.card, precision="fp16"))
    with pytest.raises(ModelError) as caught:
        segmenter_of(half)
    assert str(caught.value) == (
        f"{model.path}: holds fcn8s in fp16; expected an FCN in fp32. Name the model's folder"
    )


def test_layers_that_the_card_does_not_have_are_refused(fcn8s: Published) -> None:
    model = fcn8s.model
    wider = replace(model, card=replace(model.card, channels=(4, 4, 6, 6, 9)))
    with pytest.raises(ModelError) as caught:
        segmenter_of(wider)
    assert str(caught.value) == (
        f"{model.path}: its tensors are not those of the fcn8s on its card (conv5_1.weight, "
        "conv5_1.bias, conv5_2.weight). Export the model again"
    )


def test_both_forms_on_the_processor_say_what_the_engine_says(
    fcn8s: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peak, "_SIDES", {"cpu": 64})
    result = bench(fcn8s.model, FRAMES, "cpu", 2, Silent(), [torch_contenders])
    assert torch.get_num_threads() == cores()
    assert result.absent == ()
    engine, *rivals = result.rows
    assert [row.traits.name for row in rivals] == ["torch eager fp32", "torch channels_last fp32"]
    for row in rivals:
        assert row.traits.device == "cpu"
        assert row.traits.versions == {"torch": torch.__version__}
        assert row.classes_ppm <= torch_contender.TIES_PPM
        assert len(row.seconds) == 2
    assert engine.traits.name == "onnxruntime-cpu fp32"


def test_a_network_that_is_another_one_is_not_timed(
    fcn8s: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A weight changed behind the engine's back, as a fault in rebuilding would."""
    monkeypatch.setattr(peak, "_SIDES", {"cpu": 64})
    model = fcn8s.model

    def changed(_: Model, device: str, size: tuple[int, int]) -> list[Contender]:
        proto = onnx.load(str(model.path))
        (last,) = (t for t in proto.graph.initializer if t.name.endswith("score_fr.bias"))
        last.CopyFrom(numpy_helper.from_array(np.array([0, 50, 0], np.float32), last.name))
        path = tmp_path / "changed.onnx"
        onnx.save(proto, str(path))
        return [c for c in torch_contenders(load_model(path), device, size)
                if isinstance(c, Contender)]  # fmt: skip

    result = bench(model, FRAMES, "cpu", 1, Silent(), [lambda *given: iter(changed(*given))])
    assert len(result.rows) == 1
    assert [one.backend for one in result.absent] == ["torch eager", "torch channels_last"]
    assert "so it is another network and was not timed" in result.absent[0].reason


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_memory_format_is_the_forms(channels_last: bool) -> None:
    own = segmenter()
    laid = laid_out(own, Form("some", "cpu", channels_last=channels_last))
    kernel = laid.get_submodule("network").get_submodule("conv2_1").get_parameter("weight")
    assert kernel.is_contiguous(memory_format=torch.channels_last) is channels_last
    # The one that was given is left as it was.
    assert own.network.get_submodule("conv2_1").get_parameter("weight").is_contiguous()


def test_half_precision_is_half_throughout() -> None:
    laid = laid_out(segmenter(), Form("some", "cuda", precision="fp16"))
    assert {p.dtype for p in (*laid.parameters(), *laid.buffers())} == {torch.float16}


def test_a_closed_one_says_so(fcn8s: Published) -> None:
    contender = torch_contender.open_form(fcn8s.model, FORMS[0], "cpu", FRAMES.size)
    contender.close()
    contender.close()
    with pytest.raises(EngineError) as caught:
        contender.classes(FRAMES.pictures[0])
    assert str(caught.value) == "torch eager fp32: has been closed"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA card")
def test_every_form_on_a_card_runs(fcn8s: Published) -> None:
    forms = list(torch_contenders(fcn8s.model, "cuda:0", FRAMES.size))
    assert [form.traits.name for form in forms if isinstance(form, Contender)] == [
        "torch eager fp32",
        "torch eager fp16",
        "torch compiled fp16",
    ]
    for form in forms:
        assert isinstance(form, Contender)
        with form:
            assert form.classes(FRAMES.pictures[0]).shape == FRAMES.size
