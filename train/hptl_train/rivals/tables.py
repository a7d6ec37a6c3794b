"""The rivals' settings. The recipes `otsu` and `svm` explain each beside its number."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class _Settings(BaseModel):
    # Not the recipe's own base class: recipes are made of these tables, not the reverse.
    model_config = ConfigDict(extra="forbid", frozen=True)


class OtsuTable(_Settings):
    """`[otsu]`: global thresholds."""

    histogram_bins: Annotated[int, Field(ge=2, le=256)]
    """Bins that the 256 grey levels are counted in."""
    light_sigma: Annotated[float, Field(ge=0)]
    """Each frame is divided by a Gaussian of itself this wide, in px; 0 leaves it as it is."""


class SvmTable(_Settings):
    """`[svm]`: a support vector machine over each pixel's colour and boundary features."""

    sigmas: Annotated[tuple[Annotated[float, Field(ge=0.7, le=32)], ...], Field(min_length=1)]
    """Widths of the features' Gaussians in px. Narrower ones are badly sampled on the grid."""
    tiles_per_phase: Annotated[int, Field(ge=1, le=10_000)]
    """Tiles of 128 px that a phase's training pixels are drawn from."""
    pixels_per_phase: Annotated[int, Field(ge=1)]
    """Training pixels of each phase, at most."""
    components: Annotated[int, Field(ge=1)]
    """Training pixels that the Nystroem approximation of the kernel is made from."""
    gamma: Annotated[float, Field(gt=0)]
    """The kernel is exp(-gamma |a - b|^2 / F) over F standardised features."""
    c: Annotated[float, Field(gt=0)]
    """Price of the hinge loss against the margin's width."""
