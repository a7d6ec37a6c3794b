"""Annotations made elsewhere become a data set: one reader per format, one report of problems."""

from hptl_deploy.annotations.classes import read_phases
from hptl_deploy.annotations.importing import FORMATS, Imported, import_annotations

__all__ = ["FORMATS", "Imported", "import_annotations", "read_phases"]
