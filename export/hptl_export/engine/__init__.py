"""Engines: from a model file to what TensorRT runs, in either flavour. Never imports torch."""

from hptl_export.engine.choice import CHOICES, build_for_export
from hptl_export.engine.ensure import ensure_engine

__all__ = ["CHOICES", "build_for_export", "ensure_engine"]
