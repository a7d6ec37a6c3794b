"""The main job on synthetic micrographs whose truth is known."""

from hptl_deploy.demonstration.run import Demonstration, demonstrate

__all__ = ["Demonstration", "demonstrate"]
