"""Labelled data sets: the folder format, its labels and its split. No torch."""

from hptl_deploy.datasets.description import is_data_set
from hptl_deploy.datasets.format import DataSet, Sample, load_data_set
from hptl_deploy.datasets.labels import LabelCode, read_labels

__all__ = ["DataSet", "LabelCode", "Sample", "is_data_set", "load_data_set", "read_labels"]
