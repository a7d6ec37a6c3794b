"""TensorRT engines for tests: built for the conformance suite's shapes, opened on the card."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from hptl_deploy.engines.flavour import load_flavour
from hptl_deploy.engines.machine import count_cards, this_machine
from hptl_deploy.engines.memory import open_memory
from hptl_deploy.engines.record import Profiles
from hptl_deploy.engines.storage import ENGINES_FOLDER
from hptl_deploy.engines.tensorrt import TensorRTEngine, open_tensorrt
from hptl_deploy.engines.wanted import wanted
from hptl_deploy.errors import EnvironmentLacks
from hptl_deploy.model import load_model
from hptl_deploy.sink import Silent

PROFILES = Profiles(
    frame=(1, 24, 32), tile_min=(1, 8, 8), tile_opt=(1, 64, 64), tile_max=(4, 136, 200)
)


WRITING = threading.Lock()
"""Two threads of one process do not write one file at once."""


def open_on_card(path: Path, flavour: str, layer: str) -> TensorRTEngine:
    """Build and open it; skips, saying why, where that cannot be done here."""
    from hptl_export.engine.build import build_engine

    if not count_cards():
        pytest.skip("needs an NVIDIA card")
    try:
        loaded = load_flavour(flavour)
        memory = open_memory(0, layer)
    except EnvironmentLacks as exc:
        pytest.skip(str(exc))
    model = load_model(path)
    fit = wanted(model, loaded, this_machine(), PROFILES)
    engine = path.parent / ENGINES_FOLDER / fit.file_name()
    with WRITING:
        if not engine.exists():
            build_engine(model, loaded, fit, Silent())
    return open_tensorrt(model, engine, fit, loaded, memory)
