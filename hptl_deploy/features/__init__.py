"""What a model's convolutions answer to a micrograph, as a figure."""

from hptl_deploy.features.run import FeatureOptions, Features, show_features

__all__ = ["FeatureOptions", "Features", "show_features"]
