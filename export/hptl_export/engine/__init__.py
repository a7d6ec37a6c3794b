"""Engines: from a model file to what TensorRT runs, in either flavour. Never imports torch."""

from hptl_export.engine.choice import build_for_export, check_choice
from hptl_export.engine.ensure import ensure_engine

__all__ = ["build_for_export", "check_choice", "ensure_engine"]
