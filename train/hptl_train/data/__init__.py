"""Batches: crops of labelled micrographs, crops of a source domain's pictures."""

from hptl_train.data.batches import Batch, Batches, prefetched

__all__ = ["Batch", "Batches", "prefetched"]
