"""Segmenting a folder: read -> infer -> write, with a ledger that survives kills."""

from hptl_deploy.segmentation.options import SegmentOptions
from hptl_deploy.segmentation.run import segment
from hptl_deploy.segmentation.summary import RunSummary

__all__ = ["RunSummary", "SegmentOptions", "segment"]
