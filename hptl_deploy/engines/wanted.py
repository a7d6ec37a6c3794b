"""Which engine this machine wants for a model: flavour, cards, system, shapes."""

from __future__ import annotations

from hptl_deploy.engines.flavour import Flavour
from hptl_deploy.engines.machine import Card, Machine
from hptl_deploy.engines.record import Fit, Profiles
from hptl_deploy.errors import EnvironmentLacks, UsageError
from hptl_deploy.model import Model, ModelCard

TARGETS: dict[str, tuple[str, ...]] = {
    "portable": ("8.0", "8.6", "8.9", "12.0"),
    "turing": ("7.5",),
}
"""Sets of compute capabilities that one engine of a portable flavour can serve. `portable` is
what TensorRT for RTX builds when it is told nothing, Ampere to Blackwell; Turing in the same
engine may cost the others speed, and its kernels make the demonstration model seventeen times
larger."""
PORTABLE_SYSTEMS = ("linux-x86_64", "windows-x86_64")
"""One engine of a portable flavour serves both, says its vendor."""

FRAME = (1920, 2560)
"""(rows, columns) of the micrographs that the frame profile is made for, unless told otherwise:
the paper's."""
TILE_CORE = 1024
"""Side of a tile's core in pixels, halos come on top; what a card works through at full speed."""
TILE_BATCH = 4
"""Tiles, or small micrographs, that one call may hold."""
_LONGEST_FRAME = 16384
_MOST_NUMBERS = 2**31 - 1
"""In one tensor: what 32-bit indices reach, and 4 GiB in half precision."""


def profiles_for(card: ModelCard, frame: tuple[int, int] = FRAME) -> Profiles:
    """The shapes of an engine for frames of `frame` (rows, columns), filled up to the stride.

    A frame of another size goes in tiles, and so do frames that no card could take whole: the
    frame profile is then one more shape for tiles. Raises UsageError for a size that is none.
    """
    check_frame(frame)
    rows, columns = frame
    stride = card.stride
    # The largest tensors are the first layers' or the scores, both at the enlarged size.
    numbers_per_pixel = max(card.channels[0], len(card.phases)) * card.input_scale**2
    core = TILE_CORE
    while core > stride and numbers_per_pixel * _side(card, core) ** 2 > _MOST_NUMBERS:
        core //= 2
    side = _side(card, core)
    batch = max(1, min(TILE_BATCH, _MOST_NUMBERS // (numbers_per_pixel * side**2)))
    whole = (1, _up(rows, stride), _up(columns, stride))
    fits = numbers_per_pixel * whole[1] * whole[2] <= _MOST_NUMBERS
    return Profiles(
        frame=whole if fits else (1, side, side),
        tile_min=(1, stride, stride),
        tile_opt=(1, side, side),
        tile_max=(batch, side, side),
    )


def check_frame(frame: tuple[int, int]) -> None:
    """Raise UsageError unless an engine can be tuned to frames of (rows, columns)."""
    rows, columns = frame
    if not (1 <= rows <= _LONGEST_FRAME and 1 <= columns <= _LONGEST_FRAME):
        raise UsageError(
            f"frames of {columns} x {rows} px: expected 1 to {_LONGEST_FRAME} px a side",
            hint="Larger micrographs go in tiles whatever the engine was made for",
        )


def _side(card: ModelCard, core: int) -> int:
    return _up(core, card.stride) + 2 * card.halo


def wanted(
    model: Model,
    flavour: Flavour,
    machine: Machine,
    profiles: Profiles,
    target: str | None = None,
) -> Fit:
    """What an engine must be to run `model` on `machine`.

    `target` is a key of TARGETS, for a portable flavour; without it the machine's own card
    decides, and `portable` where there is none. Raises UsageError for a target that the flavour
    does not take and EnvironmentLacks where it needs a card and there is none.
    """
    gpu: Card | tuple[str, ...]
    if flavour.portable:
        gpu = _capabilities(machine, target)
        driver = None
        systems = PORTABLE_SYSTEMS if machine.os in PORTABLE_SYSTEMS else (machine.os,)
    else:
        if target is not None:
            raise UsageError(
                f"--target {target}: {flavour.title} builds for the card of this machine only",
                hint="Leave --target out, or use --engine tensorrt-rtx",
            )
        if machine.card is None:
            raise EnvironmentLacks(
                f"{flavour.title} builds on the card itself, and no NVIDIA card answers on this "
                "machine (no driver, or no card)",
                hint="Export where the card is, or use --engine tensorrt-rtx",
            )
        gpu, driver, systems = machine.card, machine.driver, (machine.os,)
    return Fit(
        onnx_sha256=model.sha256,
        flavour=flavour.key,
        version=flavour.version,
        precision=model.card.precision,
        gpu=gpu,
        driver=driver,
        os=systems,
        profiles=profiles,
    )


def _capabilities(machine: Machine, target: str | None) -> tuple[str, ...]:
    if target is not None:
        if target not in TARGETS:
            raise UsageError(f"--target {target}: expected {' or '.join(TARGETS)}")
        return TARGETS[target]
    card = machine.card
    if card is None:
        return TARGETS["portable"]
    sets = (listed for listed in TARGETS.values() if card.capability in listed)
    return next(sets, (card.capability,))


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
