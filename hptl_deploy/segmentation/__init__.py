"""Segmenting a folder: read -> infer -> write, with a ledger that survives kills."""

from hptl_deploy.segmentation.options import SegmentOptions
from hptl_deploy.segmentation.run import RunSummary, Silent, Sink, segment

__all__ = ["RunSummary", "SegmentOptions", "Silent", "Sink", "segment"]
