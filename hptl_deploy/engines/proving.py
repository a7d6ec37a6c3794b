"""Whether an engine computes a model as it was verified: its answer to the card's probe."""

from __future__ import annotations

from hptl_deploy.engines.base import Engine
from hptl_deploy.errors import EnvironmentLacks, ModelError
from hptl_deploy.probe import Probe


def reproduces(engine: Engine) -> bool:
    """True where the engine gives the probe of its model the class map in the card.

    Raises ModelError where the card has no probe.
    """
    probe = _probe(engine)
    return _differing(engine, probe) <= probe.tolerated


def check_probe(engine: Engine) -> None:
    """Raise EnvironmentLacks where `engine` does not reproduce the probe of its model.

    ModelError where the card has no probe.
    """
    probe = _probe(engine)
    differing = _differing(engine, probe)
    if differing > probe.tolerated:
        raise EnvironmentLacks(
            f"{engine.model.path}: {engine.info.backend} gives {differing} of the "
            f"{probe.height * probe.width} pixels of the model's probe another class on this "
            f"machine than it was verified with (at most {probe.tolerated} may tie), so its "
            f"{engine.info.precision} results would be wrong here",
            hint="Leave --precision int8 out"
            if engine.info.precision == "int8"
            else "Use another --backend, or --device cpu",
        )


def _probe(engine: Engine) -> Probe:
    probe = engine.model.card.probe
    if probe is None:
        raise ModelError(
            f"{engine.model.path}: carries no probe, so nothing tells whether "
            f"{engine.info.backend} computes it here as it was verified",
            hint="Export it again with this version",
        )
    return probe


def _differing(engine: Engine, probe: Probe) -> int:
    return probe.differing(engine.infer(probe.frame[None]).classes[0])
