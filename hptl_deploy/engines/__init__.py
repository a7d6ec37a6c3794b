"""Engines: one interface, several backends, one ladder."""

from hptl_deploy.engines.base import Engine, EngineInfo, Prediction
from hptl_deploy.engines.ladder import open_engine

__all__ = ["Engine", "EngineInfo", "Prediction", "open_engine"]
