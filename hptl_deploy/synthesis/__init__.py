"""Synthetic as-cast aluminium: labelled micrographs of any size, for those who have none.

    frame = make_frame(seed=1, number=0, height=1920, width=2560)
    frame.pixels()     # uint8 [H, W, 3], as the stored JPEG decodes
    frame.labels       # uint8 [H, W], the true shapes before any blur

A specimen is drawn (`conditions`, `grains`, `particles`, `matrix`), looked at (`optics`) and
stored with a scale bar (`scale_bar`). `data_set` writes many.
"""

from hptl_deploy.synthesis.data_set import SynthesisRequest, write_data_set
from hptl_deploy.synthesis.frame import SyntheticFrame, make_frame

__all__ = ["SynthesisRequest", "SyntheticFrame", "make_frame", "write_data_set"]
