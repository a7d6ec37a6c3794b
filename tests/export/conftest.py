"""Exported tiny models, made once per session: tracing takes seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from hptl_deploy.model import load_model
from hptl_export.graph import export_graph, write_model
from hptl_train.networks.segmenter import stride_of
from support.exported import Exported, card
from support.tiny import segmenter


@pytest.fixture(scope="session", params=[1, 2, 3], ids=lambda scale: f"scale{scale}")
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """An FCN-8s of random weights at input scales 1, 2 and 3."""
    scale: int = request.param
    network = segmenter(input_scale=scale, seed=scale)
    path: Path = tmp_path_factory.mktemp("model") / "model.onnx"
    write_model(export_graph(network, stride_of(scale)), card(scale), path)
    shown = export_graph(network, stride_of(scale), show_logits=True)
    return Exported(network, load_model(path), shown)
