"""Exported tiny models, made once per session: tracing takes seconds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hptl_deploy.model import load_model
from hptl_export.files import without_logits, write_model

if TYPE_CHECKING:
    from hptl_train.run_folder import RunFolder
    from support.exported import Exported


def _export(scale: int, folder: Path) -> Exported:
    # Late: engines are built, and that is tested, where there is no torch.
    from hptl_export.graph import export_graph
    from hptl_train.networks.segmenter import stride_of
    from support.exported import Exported, card
    from support.tiny import segmenter

    network = segmenter(input_scale=scale, seed=scale)
    path = folder / "model.onnx"
    shown = export_graph(network, stride_of(scale))
    write_model(without_logits(shown), card(scale), path)
    return Exported(network, load_model(path), shown)


# Scale 2 is all powers of two; 1 leaves the enlargement out, 3 is the awkward one.
@pytest.fixture(scope="session", params=[1, 3], ids=lambda scale: f"scale{scale}")
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """An FCN-8s of random weights at input scales 1 and 3."""
    return _export(request.param, tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def exported4(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """One at input scale 4, whose small halo makes checks of the halo quick."""
    return _export(4, tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run of two iterations a step."""
    from support.finished_run import finished_run

    return finished_run(tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("runs"))
