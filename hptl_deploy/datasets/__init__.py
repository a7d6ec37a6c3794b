"""Labelled data sets: the folder format, its labels and its split. No torch."""

from hptl_deploy.datasets.format import DataSet, Sample, load_data_set
from hptl_deploy.datasets.labels import LabelCode, read_labels

__all__ = ["DataSet", "LabelCode", "Sample", "load_data_set", "read_labels"]
