"""Every row of the paper's tables on one data set: trained, scored, timed and drawn."""

from hptl_train.compare.comparison import Comparison, compare
from hptl_train.compare.plan import ROWS, Plan
from hptl_train.compare.table import MEANING

__all__ = ["MEANING", "ROWS", "Comparison", "Plan", "compare"]
