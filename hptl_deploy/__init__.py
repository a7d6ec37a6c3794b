"""Micrograph segmentation on ONNX Runtime and TensorRT: the runtime and the command line.

Nothing below this package imports torch. Heavy libraries are imported by the
function that needs them, so that importing the package, and `--help`, stay quick.
"""

__version__ = "0.1.0"
