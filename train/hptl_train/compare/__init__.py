"""Every row of the paper's tables on one data set: trained, scored, timed and drawn."""

from hptl_train.compare.comparison import Comparison, compare
from hptl_train.compare.plan import ROWS, Plan

__all__ = ["ROWS", "Comparison", "Plan", "compare"]
