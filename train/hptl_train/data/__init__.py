"""Batches: crops of labelled micrographs, crops of a source domain's pictures."""

from hptl_train.data.batches import Batch, Batches, SharedBatches, prefetched

__all__ = ["Batch", "Batches", "SharedBatches", "prefetched"]
