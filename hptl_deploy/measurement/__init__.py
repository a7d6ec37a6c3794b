"""What is measured on class maps."""

from hptl_deploy.measurement.fields import Field, measure_field

__all__ = ["Field", "measure_field"]
