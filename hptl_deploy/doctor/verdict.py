"""What the findings mean: which engine `segment` would run, and what would help.

It walks the ladder of `hptl_deploy.engines.ladder` by the findings alone, which takes no card and
builds no engine. Only lines that would help on this machine are advice.
"""

from __future__ import annotations

from collections.abc import Iterator

from hptl_deploy.doctor.findings import INSTALL, TITLES, Findings, Road, Trouble, Verdict
from hptl_deploy.doctor.processor import dot_products

_FLAVOURS = ("tensorrt", "tensorrt-rtx")
ON_CARD = (*_FLAVOURS, "onnxruntime-cuda")
"""The steps of the ladder that need a card, the first that runs is taken."""
ON_CPU = "onnxruntime-cpu"
_CUDA = 13
"""What the libraries of the install lines are made for; older drivers do not run it."""


def judge(found: Findings) -> Verdict:
    """The roads of `--device auto` and `--device cuda`, and what would help here."""
    backend, steps = _down_the_card(found)
    return {
        "auto": _on_card(backend, steps) if backend else _on_cpu(found, steps),
        "cuda": _on_card(backend, steps) if backend else _refused(steps),
        "advice": list(_advice(found, backend)),
    }


def _no_card(found: Findings) -> str | None:
    """Why there is no card to run on; None where there is one."""
    if found["driver"]["cards"]:
        return None
    return found["driver"]["trouble"] or f"{TITLES['driver']} shows no card"


def _why_not(found: Findings, step: str) -> str | None:
    """The sentence that keeps a step of ON_CARD from running on the first card; None: it runs."""
    if step not in _FLAVOURS:
        trouble = found["onnxruntime"]["trouble"] or found["onnxruntime"]["cuda"]["trouble"]
        return f"ONNX Runtime does not run on the card: {trouble}" if trouble else None
    title, flavour = TITLES[step], found["tensorrt"][step]
    if flavour["trouble"]:
        return flavour["trouble"]
    if not _layer(found):
        reasons = "; ".join(str(layer["trouble"]) for layer in found["device_memory"].values())
        return f"{title} is installed, but nothing reaches the card's memory: {reasons}"
    if not flavour["builds"]:
        return f"{title} is installed, but builds no engine here ({flavour['builds_trouble']})"
    return None


def _down_the_card(found: Findings) -> tuple[str | None, list[str]]:
    """(the first step that runs on a card, a sentence for it and for each before it)."""
    if (lacking := _no_card(found)) is not None:
        return None, [lacking]
    sentences: list[str] = []
    for step in ON_CARD:
        reason = _why_not(found, step)
        if reason is None:
            return step, [*sentences, _runs(found, step)]
        sentences.append(reason)
    return None, sentences


def _runs(found: Findings, step: str) -> str:
    card = found["driver"]["cards"][0]
    if step not in _FLAVOURS:
        return f"ONNX Runtime {found['onnxruntime']['version']} runs on card 0, {card['name']}"
    flavour = found["tensorrt"][step]
    sentence = (
        f"{TITLES[step]} {flavour['version']} runs on card 0, {card['name']}, with memory through "
        f"{_layer(found)}; a model's first run builds its engine, later ones load it"
    )
    if flavour["serves"] is not None and card["capability"] not in flavour["serves"]:
        sentence += f"; it is not made for compute capability {card['capability']} and may refuse"
    return sentence


def _on_card(backend: str, sentences: list[str]) -> Road:
    return {"backend": backend, "device": "cuda:0", "sentences": sentences}


def _on_cpu(found: Findings, sentences: list[str]) -> Road:
    runtime = found["onnxruntime"]
    if runtime["trouble"]:
        last = f"ONNX Runtime does not run on the CPU either: {runtime['trouble']}"
        return {"backend": None, "device": None, "sentences": [*sentences, last]}
    last = f"ONNX Runtime {runtime['version']} runs on the CPU"
    return {"backend": ON_CPU, "device": "cpu", "sentences": [*sentences, last]}


def _refused(sentences: list[str]) -> Road:
    return {"backend": None, "device": None, "sentences": sentences}


def _advice(found: Findings, backend: str | None) -> Iterator[str]:
    runtime = found["onnxruntime"]
    yield from _hint(found["libraries"])
    if len(runtime["packages"]) > 1:
        yield (
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: pip "
            "uninstall -y onnxruntime onnxruntime-gpu, then pip install onnxruntime-gpu"
        )
    else:
        yield from _hint(runtime, (runtime["packages"] or ["hptl-deploy"])[0])
    yield from _advice_with_card(found, backend) if found["driver"]["cards"] else _without(found)


def _advice_with_card(found: Findings, backend: str | None) -> Iterator[str]:
    """For a machine with a card: only what would let a higher step of the ladder run."""
    if found["training"]["version"] and found["training"]["cuda"] is None:
        yield (
            f"torch {found['training']['version']} is built without CUDA, so training runs on the "
            "CPU; https://pytorch.org/get-started has the line for CUDA"
        )
    if backend in _FLAVOURS:
        return
    cuda = found["driver"]["cuda"]
    if cuda is not None and int(cuda.partition(".")[0]) < _CUDA:
        yield (
            f"The driver runs CUDA {cuda}, and the libraries below are made for CUDA {_CUDA}: "
            "install driver 580 or newer first"
        )
    yield from _for_tensorrt(found)
    if backend is None and not found["onnxruntime"]["trouble"]:
        yield from _for_onnxruntime(found)


def _for_tensorrt(found: Findings) -> Iterator[str]:
    flavours = found["tensorrt"]
    usable = [key for key in _FLAVOURS if not flavours[key]["trouble"]]
    if not usable:
        broken = [key for key in _FLAVOURS if flavours[key]["version"]]
        for key in broken:
            yield from _hint(flavours[key], key)
        if not broken:
            yield _install_tensorrt(found)
    elif not _layer(found):
        if found["device_memory"]["cuda-python"]["version"] is None:
            yield f"{TITLES[usable[0]]} needs a way to the card's memory: {INSTALL['cuda-python']}"
        else:
            yield "The card does not let itself be used: check the driver with nvidia-smi"
    elif not any(flavours[key]["builds"] for key in usable):
        yield f"{_why_not(found, usable[0])}. Check the driver with nvidia-smi"


def _install_tensorrt(found: Findings) -> str:
    sentence = f"TensorRT is the fastest engine for this card: {INSTALL['tensorrt']}"
    capability = found["driver"]["cards"][0]["capability"]
    if capability in (found["tensorrt"]["tensorrt-rtx"]["serves"] or []):
        sentence += f"; TensorRT for RTX is the smaller download: {INSTALL['tensorrt-rtx']}"
    return sentence


def _for_onnxruntime(found: Findings) -> Iterator[str]:
    runtime = found["onnxruntime"]
    if runtime["packages"] == ["onnxruntime"]:
        yield (
            "This ONNX Runtime knows the CPU alone: pip uninstall -y onnxruntime, then "
            f"{INSTALL['cuda']}"
        )
    else:
        yield from _hint(runtime["cuda"])


def _without(found: Findings) -> Iterator[str]:
    """For a machine without a card: nothing that only a card would need."""
    driver, rtx = found["driver"], found["tensorrt"]["tensorrt-rtx"]
    sentence = f"Engines for NVIDIA cards cannot run on this machine: {_no_card(found)}"
    if driver["trouble"] and driver["visible_devices"] is not None:
        sentence += f" (CUDA_VISIBLE_DEVICES is {driver['visible_devices']!r} and may hide cards)"
    yield f"{sentence}. {driver['hint']}" if driver["hint"] else sentence
    if rtx["builds"]:
        yield (
            f"TensorRT for RTX {rtx['version']} can build engines here for other machines: "
            "hptl-deploy export --engine tensorrt-rtx"
        )
    elif rtx["version"]:
        yield from _hint(rtx, "tensorrt-rtx")
    elif rtx["serves"]:
        yield (
            "Engines for other machines can be built here with TensorRT for RTX: "
            f"{INSTALL['tensorrt-rtx']}"
        )
    if not found["onnxruntime"]["trouble"]:
        yield f"{_int8(found)}: hptl-deploy export --int8, then segment --precision int8"


def _int8(found: Findings) -> str:
    processor = found["host"]["processor"]
    if processor is None or (fast := dot_products(processor["eight_bit"])) is None:
        return "An int8 model may be faster on this CPU"
    if fast:
        return "An int8 model is the fastest on this CPU, which has 8-bit dot products"
    return "An int8 model may be faster on this CPU, which lacks 8-bit dot products"


def _hint(part: Trouble, again: str | None = None) -> Iterator[str]:
    """Its trouble and what to do; `again` is what to install where nothing better is known."""
    hint = part["hint"]
    if again and not hint:
        hint = f"Install it again: pip install --force-reinstall {again}"
    if part["trouble"] and hint:
        yield f"{part['trouble']}. {hint}"


def _layer(found: Findings) -> str | None:
    """The layer of device memory that is used, with its version; None where none works."""
    layers = found["device_memory"].items()
    return next((f"{key} {part['version']}" for key, part in layers if not part["trouble"]), None)
