"""Micrographs of another pixel size than the model learned from, brought to that size and back."""
