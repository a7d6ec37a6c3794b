"""What an exported model must keep to be published; the only place these numbers stand."""

LOGITS_FP32 = 1e-4
"""max |ONNX - torch| / max |torch| over the logits of a fp32 model."""

CLASSES_PPM_FP32 = 10.0
"""Class pixels that may differ between ONNX and torch, per million. Two classes that tie to
within the logits' rounding may fall either way; nothing else may."""

HALO_FP32 = 1e-5
"""Largest change of a logit / largest logit, when everything outside the halo becomes noise.
Nothing but the order of additions may tell the two apart."""
