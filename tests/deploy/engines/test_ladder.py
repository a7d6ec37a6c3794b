from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from hptl_deploy.engines import ladder, open_engine
from hptl_deploy.engines.flavour import TENSORRT_RTX, Flavour
from hptl_deploy.engines.machine import Card, Machine, count_cards
from hptl_deploy.engines.memory.host import HostMemory
from hptl_deploy.errors import EngineError, EnvironmentLacks, HptlError, ModelError, UsageError
from hptl_deploy.model import MODEL_FILES, Model, load_model
from hptl_deploy.probe import Probe
from hptl_export.files import write_model
from support.engine_models import small_model, unchecked
from support.onnx_models import edited, value, with_graph
from support.sinks import Recorder
from support.stand_in_tensorrt import VERSION, Library, write_engine
from support.threshold_model import write_threshold_model


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return with_probe(load_model(write_threshold_model(tmp_path)))


def with_probe(model: Model) -> Model:
    """The same file with a probe, as export writes it."""
    frame = np.random.default_rng(7).integers(0, 256, (24, 32, 3), np.uint8)
    with open_engine(model, "cpu") as cpu:
        probe = Probe.of(frame, cpu.infer(frame[None]).classes[0])
    write_model(onnx.load(model.path), replace(model.card, probe=probe), model.path)
    return load_model(model.path)


def refusal(model: Model, device: str, *asked: str | None) -> HptlError:
    with pytest.raises(HptlError) as caught:
        open_engine(model, device, *asked)  # type: ignore[arg-type]
    return caught.value


def claim(monkeypatch: pytest.MonkeyPatch, cards: int) -> None:
    """Let the driver show so many cards."""
    monkeypatch.setattr(ladder, "count_cards", lambda: cards)


def other_precision(model: Model, precision: str) -> Model:
    """The same file beside it under another precision."""
    card = replace(model.card, precision=precision, derived_from=model.sha256)
    path = model.path.with_name(MODEL_FILES[precision])
    write_model(onnx.load(model.path), card, path)
    return load_model(path)


@pytest.mark.parametrize("device", ["tpu", "", "CPU", "cuda:", "cuda:-1", "cuda:x", "cpu:0", "gpu"])
def test_an_unknown_device(model: Model, device: str) -> None:
    error = refusal(model, device)
    assert isinstance(error, UsageError)
    assert str(error) == f"--device {device}: expected auto, cpu, cuda or cuda:N"


@pytest.mark.parametrize(
    ("device", "backend", "text"),
    [
        ("cpu", "openvino", "--backend openvino: expected auto, tensorrt, tensorrt-rtx, "
         "onnxruntime-cuda or onnxruntime-cpu"),
        ("cpu", "tensorrt", "--backend tensorrt: runs on an NVIDIA card, not on --device cpu"),
        ("cuda", "onnxruntime-cpu",
         "--backend onnxruntime-cpu: runs on the CPU, not on --device cuda"),
    ],
)  # fmt: skip
def test_a_backend_that_cannot_be_meant(model: Model, device: str, backend: str, text: str) -> None:
    error = refusal(model, device, None, backend)
    assert isinstance(error, UsageError)
    assert str(error) == text


def test_a_precision_that_the_file_does_not_have(tmp_path: Path, model: Model) -> None:
    error = refusal(model, "cpu", "int8")
    assert isinstance(error, ModelError)
    assert str(error) == (
        f"model threshold: has no int8 file ({model.path.with_name('model.int8.onnx')} is not "
        "there). Export it again with --int8, or leave --precision out"
    )
    assert str(refusal(model, "cpu", "bf16")) == "--precision bf16: expected fp32, fp16 or int8"
    alone = tmp_path / "alone.onnx"
    alone.write_bytes(model.path.read_bytes())
    error = refusal(load_model(alone), "cpu", "int8")
    assert isinstance(error, UsageError)
    assert str(error) == (
        f"{alone}: asked for int8, the file holds fp32. Leave --precision out, or name the "
        "model's folder"
    )
    with open_engine(model, "cpu", "fp32") as engine:
        assert engine.info.precision == "fp32"


def test_half_precision_runs_on_a_cpu_only_when_asked_for(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim(monkeypatch, 0)
    half, sink = other_precision(model, "fp16"), Recorder()
    with open_engine(model, sink=sink) as engine:
        assert (engine.info.precision, engine.model.path) == ("fp32", model.path)
    assert sink.notes == []
    with open_engine(model, precision="fp16", sink=sink) as engine:
        assert (engine.info.precision, engine.model.path) == ("fp16", half.path)
    assert sink.notes == [
        "half precision is computed in fp32 on a CPU: slower than the fp32 file, and no test of "
        "what a card computes"
    ]


@pytest.mark.parametrize(
    ("device", "backend", "cards", "text"),
    [
        ("cuda", "auto", 0,
         "--device cuda: no NVIDIA card answers on this machine (no driver, or no card)"),
        ("cuda:1", "auto", 0,
         "--device cuda:1: no NVIDIA card answers on this machine (no driver, or no card)"),
        ("cuda:2", "auto", 2, "--device cuda:2: asked for card 2, this machine has 2"),
        ("auto", "tensorrt", 0,
         "--backend tensorrt: no NVIDIA card answers on this machine (no driver, or no card)"),
    ],
)  # fmt: skip
def test_a_card_that_is_not_there(
    model: Model, monkeypatch: pytest.MonkeyPatch, device: str, backend: str, cards: int, text: str
) -> None:
    claim(monkeypatch, cards)
    error = refusal(model, device, None, backend)
    assert isinstance(error, EnvironmentLacks)
    assert error.exit_code == 3
    assert str(error) == f"{text}. Leave it out, or use --device cpu"


def test_auto_without_a_card_is_the_cpu(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    claim(monkeypatch, 0)
    sink = Recorder()
    with open_engine(model, "auto", sink=sink) as engine:
        assert (engine.info.backend, engine.info.device) == ("onnxruntime-cpu", "cpu")
    assert sink.notes == []


def test_a_card_that_cannot_be_used(
    model: Model, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if count_cards():
        pytest.skip("needs a machine without an NVIDIA card")
    claim(monkeypatch, 1)
    for module in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, module, None)
    error = refusal(model, "cuda")
    assert isinstance(error, EnvironmentLacks)
    steps = [refusal(model, "cuda", None, step) for step in ladder.ON_CARD]
    assert [type(step) for step in steps] == [EnvironmentLacks] * 3
    told = zip(ladder.ON_CARD, steps, strict=True)
    reasons = "; ".join(f"{name}: {step.message}" for name, step in told)
    assert str(error) == (
        f"--device cuda: nothing runs on card 0 ({reasons}). `hptl-deploy doctor` says what is "
        "missing; --device cpu runs without"
    )
    sink = Recorder()
    with open_engine(model, "auto", sink=sink) as engine:
        assert engine.info.backend == "onnxruntime-cpu"
    expected = [f"not {name}: {step}" for name, step in zip(ladder.ON_CARD, steps, strict=True)]
    assert sink.notes == [*expected, "running on the CPU instead"]
    assert capfd.readouterr().out == ""  # standard output is the document's


def stand_in_card(monkeypatch: pytest.MonkeyPatch, memory: HostMemory) -> None:
    """A machine with a card, TensorRT for RTX and no TensorRT; all of it on the host."""
    card = Card("NVIDIA Stand-in 4090", "8.9")
    machine = Machine(card, "580.65.06", "linux-x86_64")
    flavour = Flavour(TENSORRT_RTX, VERSION, Library(memory))

    def load(key: str) -> Flavour:
        if key == TENSORRT_RTX:
            return flavour
        raise EnvironmentLacks(f"{key} is not installed")

    claim(monkeypatch, 1)
    monkeypatch.setattr(ladder, "load_flavour", load)
    monkeypatch.setattr(ladder, "this_machine", lambda index: machine)
    monkeypatch.setattr("hptl_deploy.engines.memory.open_memory", lambda index: memory)


def test_an_engine_of_tensorrt_before_anything_else(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = HostMemory(pause=0.001)
    stand_in_card(monkeypatch, memory)
    write_engine(model.path)
    sink = Recorder()
    batch = np.random.default_rng(0).integers(0, 256, (1, 24, 32, 3), np.uint8)
    with open_engine(model, sink=sink) as engine, open_engine(model, "cpu") as cpu:
        assert (engine.info.backend, engine.info.precision) == ("tensorrt-rtx", "fp32")
        assert np.array_equal(engine.infer(batch).classes, cpu.infer(batch).classes)
    assert sink.notes == ["not tensorrt: tensorrt is not installed"]
    assert not +memory.live


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_engine_that_computes_something_else_is_one_step_down(
    model: Model, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """What a card computes is compared with what was verified, in every precision."""
    memory = HostMemory()
    stand_in_card(monkeypatch, memory)
    assert model.card.probe is not None
    wrong = Probe.of(model.card.probe.frame, 1 - np.minimum(model.card.probe.classes, 1))
    card = replace(model.card, precision=precision, probe=wrong, derived_from=model.sha256)
    path = model.path.with_name(MODEL_FILES[precision])
    write_model(onnx.load(model.path), card, path)
    write_engine(path)
    sink = Recorder()
    with open_engine(load_model(model.path), "auto", sink=sink) as engine:
        assert engine.info.backend == "onnxruntime-cpu"
    (told,) = [note for note in sink.notes if note.startswith("not tensorrt-rtx: ")]
    assert f"{path}: tensorrt-rtx gives " in told
    assert told.endswith(
        f"so its {precision} results would be wrong here. Use another --backend, or --device cpu"
    )
    assert not +memory.live


def test_a_model_without_a_probe_runs_on_no_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = load_model(write_threshold_model(tmp_path / "plain"))
    stand_in_card(monkeypatch, HostMemory())
    write_engine(plain.path)
    error = refusal(plain, "cuda", None, "tensorrt-rtx")
    assert str(error) == (
        f"{plain.path}: carries no probe, so nothing tells whether tensorrt-rtx computes it here "
        "as it was verified. Export it again with this version"
    )


def test_half_precision_of_another_model_is_not_taken(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in_card(monkeypatch, HostMemory())
    half = other_precision(model, "fp16")
    write_model(onnx.load(half.path), replace(half.card, derived_from="0" * 64), half.path)
    error = refusal(model, "cuda")
    assert isinstance(error, ModelError)
    assert str(error) == (
        f"{half.path}: was made of another model than the model.onnx beside it. Export the model "
        "again with --fp16, or delete the file"
    )


def test_half_precision_runs_on_a_card_where_the_model_has_it(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in_card(monkeypatch, HostMemory())
    half = other_precision(model, "fp16")
    write_engine(half.path)
    with open_engine(model) as engine:
        assert (engine.info.precision, engine.model.path) == ("fp16", half.path)


def test_int8_in_the_form_for_processors_is_none_for_tensorrt(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = HostMemory()
    stand_in_card(monkeypatch, memory)
    card = replace(model.card, precision="int8", quantised_for="cpu",
                   derived_from=model.sha256)  # fmt: skip
    path = model.path.with_name("model.int8.onnx")
    write_model(onnx.load(model.path), card, path)
    error = refusal(model, "cuda", "int8", "tensorrt-rtx")
    assert isinstance(error, ModelError)
    assert str(error) == (
        f"{path}: was quantised for the CPU, and TensorRT takes symmetric int8 alone. Export it "
        "again with --int8 --int8-for tensorrt, or use fp16"
    )


def test_an_int8_engine_on_a_card_must_reproduce_the_probe(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = HostMemory()
    stand_in_card(monkeypatch, memory)
    frame = np.random.default_rng(1).integers(0, 256, (24, 32, 3), np.uint8)
    with open_engine(model, "cpu") as cpu:
        right = cpu.infer(frame[None]).classes[0]
    path = model.path.with_name("model.int8.onnx")
    for classes, fits in ((right, True), (1 - np.minimum(right, 1), False)):
        card = replace(model.card, precision="int8", quantised_for="tensorrt",
                       derived_from=model.sha256, probe=Probe.of(frame, classes))  # fmt: skip
        write_model(onnx.load(model.path), card, path)
        write_engine(path)
        if fits:
            open_engine(model, "cuda", "int8", "tensorrt-rtx").close()
            memory = HostMemory()
            stand_in_card(monkeypatch, memory)
            continue
        error = refusal(model, "cuda", "int8", "tensorrt-rtx")
        assert isinstance(error, EnvironmentLacks)
        assert str(error).startswith(f"{path}: tensorrt-rtx gives ")
        assert not +memory.live


@pytest.mark.usefixtures("rtx")
def test_an_engine_that_cannot_be_loaded_is_one_step_down(
    model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The real library builds; without a driver it loads nothing, and says so."""
    if count_cards():
        pytest.skip("needs a machine without an NVIDIA card")
    model = with_probe(small_model(tmp_path / "small"))
    claim(monkeypatch, 1)
    memory = HostMemory()
    monkeypatch.setattr("hptl_deploy.engines.memory.open_memory", lambda index: memory)
    sink = Recorder()
    error = refusal(model, "cuda", None, "tensorrt-rtx")
    assert isinstance(error, EngineError)
    (engine,) = (model.path.parent / "engines").glob("fp32-tensorrt-rtx-*.engine")
    assert str(error).startswith(f"{engine}: ")
    assert not +memory.live
    memory = HostMemory()
    with open_engine(model, "auto", sink=sink) as opened:
        assert opened.info.backend == "onnxruntime-cpu"
    assert f"not tensorrt-rtx: {error}" in sink.notes


@pytest.mark.parametrize("device", ["cpu", "claimed card"])
def test_a_good_card_on_a_broken_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], device: str
) -> None:
    if device != "cpu":
        claim(monkeypatch, 1)
        for module in ("tensorrt", "tensorrt_rtx"):
            monkeypatch.setitem(sys.modules, module, None)
        device = "cuda"

    def lose_a_node(model: onnx.ModelProto) -> None:
        del model.graph.node[2]

    path = edited(tmp_path, lose_a_node)
    error = refusal(unchecked(path), device)
    assert isinstance(error, ModelError)
    assert str(error).startswith(f"{path}: ONNX Runtime refuses it (")
    assert "\n" not in str(error)
    assert capfd.readouterr().out == ""


def test_an_operator_nobody_knows(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Wish", ["micrograph"], ["classes", "confidence"])],
        "wish",
        [value("micrograph", ["N", "H", "W", 3])],
        [value("classes", ["N", "H", "W"]), value("confidence", ["N", "H", "W"])],
    )
    path = with_graph(tmp_path, graph)
    error = refusal(unchecked(path), "cpu")
    assert isinstance(error, ModelError)
    assert "Wish" in str(error)


@pytest.mark.gpu
def test_the_top_of_the_ladder_on_a_card(tmp_path: Path) -> None:
    """Whatever is installed there: built where it must be, and as the CPU says."""
    if not count_cards():
        pytest.skip("needs an NVIDIA card")
    model = with_probe(small_model(tmp_path))
    batch = np.random.default_rng(0).integers(0, 256, (1, 120, 160, 3), np.uint8)
    sink = Recorder()
    with open_engine(model, "cuda", sink=sink) as engine, open_engine(model, "cpu") as cpu:
        assert engine.info.backend in ladder.ON_CARD
        skipped = ladder.ON_CARD[: ladder.ON_CARD.index(engine.info.backend)]
        told = [note for note in sink.notes if note.startswith("not ")]
        assert [note.split(":")[0] for note in told] == [f"not {step}" for step in skipped]
        found, right = engine.infer(batch), cpu.infer(batch)
        assert (found.classes != right.classes).mean() <= 1e-5  # ties alone
