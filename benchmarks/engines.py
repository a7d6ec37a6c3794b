"""The full-size FCN-8s through every engine: int8 against fp32 against torch.

    python benchmarks/engines.py                              # 140 M parameters: minutes, 8 GB
    python benchmarks/engines.py --width 0.125 --size 640x480

Weights are random (He), since speed does not depend on them; the class maps they give mean
nothing, and how many pixels of them differ in int8 is a worst case. The model is exported by the
project's own code, then `hptl-deploy bench` is run on it: every engine once per round, in turn.
Peak memory is measured in a process for each engine: opening it and one whole frame.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from torch import nn

from hptl_deploy.bench import FRAMES, Result, bench, synthetic_frames
from hptl_deploy.bench.contenders import Contender, EngineContender
from hptl_deploy.bench.result import faster
from hptl_deploy.cli.bench import show, torch_rivals
from hptl_deploy.cli.output import Output
from hptl_deploy.cli.synth import parse_size
from hptl_deploy.engines import open_engine
from hptl_deploy.engines.ladder import ON_CPU
from hptl_deploy.engines.onnxruntime import load_onnxruntime, session_options
from hptl_deploy.model import (
    INPUT,
    INT8_TARGETS,
    MODEL_FILE,
    MODEL_FILES,
    OUTPUTS,
    Model,
    ModelCard,
    load_model,
)
from hptl_deploy.phases import PAPER_PHASES
from hptl_deploy.probe import Probe
from hptl_deploy.segmentation.memory import gib
from hptl_export.drafting import publish_draft
from hptl_export.files import with_logits, without_logits
from hptl_export.graph import export_graph
from hptl_export.half import half_segmenter, layers_beyond_half
from hptl_export.memory import peak_resident
from hptl_export.quantise import quantise
from hptl_train.networks import FCN, Segmenter, Sizes
from hptl_train.networks.init import initialise
from hptl_train.networks.reach import halo
from hptl_train.networks.segmenter import stride_of
from hptl_train.torch_contender import FORMS, open_form

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_CALIBRATION_SIDE = 512
_PROBE_SIDE = 64
_KEPT = 1
"""Convolutions that stay in fp32: the first, as in most models that are published."""


def random_segmenter(width: float) -> Segmenter:
    """An FCN-8s of random weights, the same at every call."""
    torch.manual_seed(0)
    network = FCN("fcn8s", Sizes().scaled(width), len(PAPER_PHASES))
    # The skip scores are not zero, so that every path is felt.
    initialise(network, "he-normal", "bilinear", "he-normal")
    for module in network.modules():
        # Nor are the biases: the exporter would leave them out.
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.normal_(module.bias, std=0.1)
    return Segmenter(network).eval()


def export(width: float, precisions: Sequence[str], target: str, folder: Path) -> Model:
    """`folder/model.onnx` and the other `precisions` beside it; int8 in the form for `target`."""
    segmenter, stride = random_segmenter(width), stride_of(1)
    sizes = Sizes().scaled(width)
    card = ModelCard(
        name=f"random-{width:g}",
        network="fcn8s",
        channels=sizes.channels,
        fc=sizes.fc,
        phases=PAPER_PHASES,
        input_scale=1,
        stride=stride,
        halo=halo("fcn8s", 1),
        bytes_per_pixel=1.0,
        pixel_size_um=None,
    )
    proto = without_logits(export_graph(segmenter, stride))
    pictures = synthetic_frames(_CALIBRATION_SIDE, _CALIBRATION_SIDE).pictures
    card = replace(card, probe=_probe(proto, pictures))
    model = publish_draft(proto, card, folder / MODEL_FILE, print)
    if "fp16" in precisions:
        half = half_segmenter(segmenter, tuple(layers_beyond_half(segmenter, pictures)))
        graph = without_logits(export_graph(half, stride))
        _beside(model, "fp16", graph, probe=_probe(graph, pictures))
    del segmenter
    if "int8" in precisions:
        shown = with_logits(onnx.load(model.path))
        quantised = without_logits(quantise(shown, pictures, target, _KEPT))
        _beside(model, "int8", quantised, quantised_for=target, probe=_probe(quantised, pictures))
    return model


def _probe(proto: onnx.ModelProto, pictures: Sequence[NDArray[np.uint8]]) -> Probe:
    """What the graph itself answers, with 8-bit kernels that never saturate.

    A published model's other precisions are held to fp32's answer, too; random weights tie too
    often for that.
    """
    ort = load_onnxruntime()
    session = ort.InferenceSession(
        proto.SerializeToString(),
        session_options(ort, exact_int8=True),
        providers=["CPUExecutionProvider"],
    )
    frame = np.ascontiguousarray(pictures[0][:_PROBE_SIDE, :_PROBE_SIDE])
    (classes,) = session.run([OUTPUTS[0]], {INPUT: frame[None]})
    return Probe.of(frame, classes[0])


def _beside(
    model: Model,
    precision: str,
    proto: onnx.ModelProto,
    **fields: Any,  # noqa: ANN401
) -> None:
    card = replace(model.card, precision=precision, derived_from=model.sha256, **fields)
    publish_draft(proto, card, model.path.with_name(MODEL_FILES[precision]), print)


def peak_of(model: Model, name: str, picture: Path) -> int:
    """Most memory that a process of its own holds for `name` and one frame on the CPU, bytes."""
    done = subprocess.run(
        [sys.executable, __file__, "--peak-of", name, str(model.path), str(picture)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        # The packages where this process found them.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return int(done.stdout)


def _measure(name: str, path: Path, picture: Path) -> int:
    pixels: NDArray[np.uint8] = np.load(picture)
    with _opened(name, load_model(path), pixels.shape[:2]) as contender:
        contender.classes(pixels)
    return peak_resident()


def _opened(name: str, model: Model, size: tuple[int, ...]) -> Contender:
    height, width = size
    backend, _, precision = name.rpartition(" ")
    if backend == ON_CPU:
        return EngineContender(open_engine(model, "cpu", precision, ON_CPU), height, width)
    (form,) = (form for form in FORMS if (form.name, form.device) == (backend, "cpu"))
    return open_form(model, form, "cpu", (height, width))


def report(result: Result) -> None:
    """Print the tables and the ratios that matter."""
    show(result, Output(as_json=False))
    seconds = {row.traits.name: row.seconds for row in result.rows if row.traits.device == "cpu"}
    int8 = seconds.get(f"{ON_CPU} int8")
    for other in (f"{ON_CPU} fp32", "torch eager fp32", "torch channels_last fp32"):
        if int8 is not None and other in seconds:
            print(f"int8 on the CPU: {faster(seconds[other], int8):.2f} x {other}", flush=True)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=float, default=1.0, help="of the network; 1 is full size")
    parser.add_argument("--size", default="2560x1920")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precisions", default="fp32,int8", help="fp32, and of fp16 and int8")
    parser.add_argument("--int8-for", choices=INT8_TARGETS, default="cpu")
    parser.add_argument("--peak-of", nargs=3, metavar=("NAME", "MODEL", "FRAME"),
                        help="print one engine's peak memory in bytes")  # fmt: skip
    options = parser.parse_args()
    if options.peak_of:
        name, model_path, picture = options.peak_of
        print(_measure(name, Path(model_path), Path(picture)))
        return
    height, width = parse_size(options.size)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        model = export(options.width, options.precisions.split(","), options.int8_for, Path(folder))
        frames = synthetic_frames(height, width, FRAMES)
        sink = Output(as_json=False)
        result = bench(model, frames, options.device, options.repeats, sink, [torch_rivals])
        picture = Path(folder) / "frame.npy"
        np.save(picture, frames.pictures[0])
        on_cpu = [row.traits.name for row in result.rows if row.traits.device == "cpu"]
        report(result)
        for name in on_cpu:
            peak = gib(peak_of(model, name, picture))
            print(f"{name}: {peak} at its peak, in a process of its own", flush=True)


if __name__ == "__main__":
    main()
