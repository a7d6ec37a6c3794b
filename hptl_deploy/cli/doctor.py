"""`hptl-deploy doctor`: what this machine can run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from hptl_deploy.cli.output import JsonOption, Output, output

if TYPE_CHECKING:
    from hptl_deploy.doctor import Findings, Verdict
    from hptl_deploy.doctor.findings import EightBit, Library


def doctor(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show what this machine can run, and how to get what would make it faster.

    What is missing is no error. Whoever helps you wants to see the whole of it: --json.

    Example: hptl-deploy doctor
    """
    from hptl_deploy.doctor import examine, judge

    sink = output(context, as_json=as_json)
    found = examine(sink)
    verdict = judge(found)
    _show_machine(sink, found)
    _show_libraries(sink, found)
    _show_verdict(sink, verdict)
    sink.document({**found, "verdict": verdict})


def _show_machine(sink: Output, found: Findings) -> None:
    program, host, driver = found["program"], found["host"], found["driver"]
    rows = [
        ("hptl-deploy", program["version"]),
        ("Python", f"{program['python']}, {program['executable']}"),
        ("system", host["system"] or "unknown"),
    ]
    if host["trouble"]:
        rows.append(("not known", host["trouble"]))
    if processor := host["processor"]:
        cores = f"{processor['cores'] or '?'} cores, {processor['threads'] or '?'} threads"
        instructions = _instructions(processor["eight_bit"])
        rows.append(("processor", f"{processor['name']}, {cores}; 8-bit: {instructions}"))
    if memory := host["memory"]:
        rows.append(("memory", _memory(memory["total_bytes"], memory["free_bytes"])))
    if driver["version"]:
        runs = f", runs CUDA {driver['cuda']}" if driver["cuda"] else ""
        rows.append(("NVIDIA driver", driver["version"] + runs))
    for card in driver["cards"]:
        memory_of_card = _memory(card["total_bytes"], card["free_bytes"])
        words = f"{card['name']}, compute capability {card['capability']}, {memory_of_card}"
        rows.append((f"card {card['index']}", words))
    if not driver["cards"]:
        rows.append(("NVIDIA card", str(driver["trouble"])))
    _columns(sink, rows)


def _show_libraries(sink: Output, found: Findings) -> None:
    from hptl_deploy.doctor.findings import TITLES

    card = bool(found["driver"]["cards"])
    runtime, training = found["onnxruntime"], found["training"]
    rows = []
    if found["libraries"]["trouble"]:
        rows.append(("base", found["libraries"]["trouble"]))
    rows.append(("ONNX Runtime, CPU", _state(runtime, "runs")))
    if card:
        cuda: Library = {**runtime["cuda"], "version": runtime["version"]}
        rows.append(("ONNX Runtime, CUDA", _state(cuda, "runs")))
    for key, flavour in found["tensorrt"].items():
        # Without a card, what only runs on one is worth a line where it is there.
        if card or flavour["version"] or flavour["serves"]:
            can = "builds engines"
            if not flavour["builds"]:
                can = f"builds no engines here ({flavour['builds_trouble']})"
            rows.append((TITLES[key], _state(flavour, can)))
    for key, layer in found["device_memory"].items():
        if card or layer["version"]:
            rows.append((f"card's memory: {key}", _state(layer, "works")))
    where = f"on CUDA {training['cuda']}" if training["cuda"] else "on the CPU"
    for name, part, works in (
        ("training: torch", training, where),
        ("Zeiss CZI", found["czi"], "reads them"),
        ("Leica LIF", found["lif"], "reads them"),
        ("Nikon ND2", found["nd2"], "reads them"),
    ):
        more = f". {part['hint']}" if part["hint"] else ""
        rows.append((name, _state(part, works) + more))
    sink.say("")
    _columns(sink, rows)


def _show_verdict(sink: Output, verdict: Verdict) -> None:
    for device, road in (("auto", verdict["auto"]), ("cuda", verdict["cuda"])):
        runs = f"runs on {road['backend']}" if road["backend"] else "is refused, exit code 3"
        sink.say(f"\nsegment --device {device}: {runs}")
        _list(sink, road["sentences"])
    if verdict["advice"]:
        sink.say("\nwhat would help here")
        _list(sink, verdict["advice"])


def _state(part: Library, works: str) -> str:
    """`1.31.1, runs`, or why it does not and what to do about it."""
    if part["trouble"] is None:
        return f"{part['version']}, {works}"
    version = f"{part['version']}: " if part["version"] else ""
    return version + part["trouble"]


def _instructions(found: EightBit) -> str:
    kinds = {
        "AVX2": found["avx2"],
        "AVX-512 VNNI": found["avx512_vnni"],
        "AVX-VNNI": found["avx_vnni"],
        "ARM dot products": found["arm_dotprod"],
    }
    there = [words for words, known in kinds.items() if known]
    unknown = [f"{words} unknown" for words, known in kinds.items() if known is None]
    return ", ".join(there + unknown) or f"none of {', '.join(kinds)}"


def _memory(total: int, free: int | None) -> str:
    left = "no room to ask what is free" if free is None else f"{free / 2**30:.1f} GiB free"
    return f"{total / 2**30:.1f} GiB, {left}"


def _columns(sink: Output, rows: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        sink.say(f"{name.ljust(width)}  {text}")


def _list(sink: Output, sentences: list[str]) -> None:
    for sentence in sentences:
        sink.say(f"  - {sentence}")
