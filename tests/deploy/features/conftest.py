"""The bundled model: a whole FCN-8s whose graph needs no torch."""

from __future__ import annotations

import onnx
import pytest

from hptl_deploy.bundled import BUNDLED, bundled_models_folder
from hptl_deploy.model import Model, load_model


@pytest.fixture(scope="session")
def model() -> Model:
    folder = bundled_models_folder()
    assert folder is not None
    return load_model(folder / BUNDLED / "model.onnx")


@pytest.fixture
def proto(model: Model) -> onnx.ModelProto:
    """Its graph, to be spoilt."""
    return onnx.load(str(model.path))
