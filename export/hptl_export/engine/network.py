"""From a graph to a network that can be built: parsed, checked, its shapes declared."""

from __future__ import annotations

from pathlib import Path

from hptl_deploy.engines.flavour import Flavour, Messages, Trt, tidy
from hptl_deploy.engines.record import Profiles, Shape
from hptl_deploy.errors import EngineError, ModelError
from hptl_deploy.model import INPUT, OUTPUTS

_CHANNELS = 3
_ERRORS_SHOWN = 3


def parse(
    flavour: Flavour, builder: Trt, logger: Trt, messages: Messages, graph: bytes, path: Path
) -> Trt:
    """The flavour's network of `graph`, a serialised ONNX model; `path` names it in messages.

    Raises ModelError where the parser refuses it or its inputs and outputs are not a model's.
    """
    trt = flavour.trt
    flags = 0
    # Since version 11 there is nothing else, and the flag may be gone.
    named = getattr(trt, "NetworkDefinitionCreationFlag", None)
    strongly_typed = getattr(named, "STRONGLY_TYPED", None)
    if strongly_typed is not None:
        flags |= 1 << int(strongly_typed)
    network = builder.create_network(flags)
    if network is None:
        raise EngineError(f"{flavour.title} cannot make a network ({messages.cause()})")
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(graph):
        found = dict.fromkeys(_problem(parser.get_error(n)) for n in range(parser.num_errors))
        reasons = list(found)[:_ERRORS_SHOWN] or [messages.cause()]
        raise ModelError(f"{path}: {flavour.title} cannot build it ({'; '.join(reasons)})")
    _check_interface(flavour, network, path)
    return network


def _problem(error: Trt) -> str:
    operator, node = error.node_operator(), error.node_name()
    said = tidy(error.desc())
    if not operator:
        return said
    return f"operator {operator}{f' of node {node}' if node else ''}: {said}"


def _check_interface(flavour: Flavour, network: Trt, path: Path) -> None:
    """Names, types and ranks, as the network has them after parsing."""
    inputs = [network.get_input(n) for n in range(network.num_inputs)]
    outputs = [network.get_output(n) for n in range(network.num_outputs)]
    uint8 = flavour.trt.DataType.UINT8
    sound = (
        [(t.name, t.dtype, len(t.shape)) for t in inputs] == [(INPUT, uint8, 4)]
        and inputs[0].shape[3] == _CHANNELS
        and sorted((t.name, t.dtype, len(t.shape)) for t in outputs)
        == sorted((name, uint8, 3) for name in OUTPUTS)
    )
    if not sound:
        raise ModelError(
            f"{path}: {flavour.title} reads inputs {_listed(inputs)} and outputs "
            f"{_listed(outputs)}, expected {INPUT} (uint8, [N, H, W, 3]) and "
            f"{' and '.join(OUTPUTS)} (uint8, [N, H, W])"
        )
    # -1 is any length; a fixed one could not take the shapes of both profiles.
    fixed = [t for t in inputs if any(length != -1 for length in t.shape[:3])]
    if fixed:
        raise ModelError(
            f"{path}: takes one size only ({_listed(fixed)}), expected any N, H and W",
            hint="Export the model again with this version",
        )


def _listed(tensors: list[Trt]) -> str:
    return (
        ", ".join(f"{t.name} ({str(t.dtype.name).lower()}, {list(t.shape)})" for t in tensors)
        or "none"
    )


def add_profiles(flavour: Flavour, builder: Trt, config: Trt, profiles: Profiles) -> None:
    """Profile 0 takes the frame, profile 1 the tiles. Raises EngineError where one is refused."""
    frame = profiles.frame
    wished = [(frame, frame, frame), (profiles.tile_min, profiles.tile_opt, profiles.tile_max)]
    for index, shapes in enumerate(wished):
        profile = builder.create_optimization_profile()
        try:
            # It returns nothing; what it can see by itself it raises.
            profile.set_shape(INPUT, *(_dimensions(shape) for shape in shapes))
            taken = config.add_optimization_profile(profile)
        except (ValueError, RuntimeError) as exc:
            raise EngineError(
                f"{flavour.title} refuses the shapes {profiles} ({tidy(str(exc))})"
            ) from exc
        if taken != index:
            raise EngineError(f"{flavour.title} refuses the shapes {profiles}")


def _dimensions(shape: Shape) -> tuple[int, int, int, int]:
    return (*shape, _CHANNELS)


def set_target(flavour: Flavour, config: Trt, capabilities: tuple[str, ...]) -> None:
    """Name the compute capabilities of the cards that the engine is for, `8.9` say.

    One that the flavour has no name for can only be this machine's card, which is asked for as
    such. Raises EngineError where one is refused.
    """
    known = flavour.trt.ComputeCapability
    config.num_compute_capabilities = len(capabilities)
    for index, capability in enumerate(capabilities):
        named = getattr(known, f"SM{capability.replace('.', '')}", known.CURRENT)
        if not config.set_compute_capability(named, index):
            raise EngineError(
                f"{flavour.title} {flavour.version} does not build for compute capability "
                f"{capability}"
            )
