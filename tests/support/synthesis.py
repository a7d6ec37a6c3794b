"""Small data sets; plain specimens and cameras; frames of nothing but particles and a lens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from hptl_deploy.synthesis import SynthesisRequest
from hptl_deploy.synthesis.conditions import Camera, Specimen
from hptl_deploy.synthesis.frame import SyntheticFrame, make_frame
from hptl_deploy.synthesis.particles import Habit

THIRDS = (1 / 3, 1 / 3, 1 / 3)

HEIGHT, WIDTH, SEED = 96, 128, 5


def request(folder: Path, images: int, **changes: int) -> SynthesisRequest:
    """`images` small frames of one series."""
    asked = {"height": HEIGHT, "width": WIDTH, "seed": SEED, **changes}
    return SynthesisRequest(folder, images, **asked)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def habit(area_fraction: float, shares: tuple[float, ...] = THIRDS) -> Habit:
    """A phase of `area_fraction` that avoids the other."""
    return Habit(
        area_fraction, shares, size=1.0, boundary_share=0.5, pocket_share=0.0, touching_share=0.0
    )


def specimen(**changes: Any) -> Specimen:
    """An even matrix with particles of every shape."""
    plain: dict[str, Any] = {
        "mg2si": habit(0.02),
        "fe": habit(0.02),
        "grain_um": 60.0,
        "denuded_um": 5.0,
        "dispersoids_per_um2": 0.0,
        "dispersoid_contrast": 0.3,
        "needles_per_1000_um2": 0.0,
        "needle_contrast": 0.3,
        "grain_tone": 0.0,
        "boundary_tone": 0.0,
        "scratches": 0,
        "stains": 0.0,
        "roughness": ((0.1, 0.5), (0.2, 2.0)),
    }
    return Specimen(**{**plain, **changes})


def camera(**changes: Any) -> Camera:
    """A camera without noise under even light; everything in focus is blurred by 1.6 px."""
    plain: dict[str, Any] = {
        "pixel_size_um": 0.09,
        "matrix": (150.0, 160.0, 165.0),
        "mg2si": (0.3, 0.3, 0.4),
        "fe": (0.64, 0.6, 0.66),
        "monochrome": False,
        "blur": (1.6, 1.6, 1.6),
        "defocus": 0.0,
        "falloff": 0.0,
        "centre": (0.5, 0.5),
        "tilt": (0.0, 0.0),
        "tone": 1.0,
        "sharpening": 0.0,
        "noise": 0.0,
        "noise_grain": 0.0,
        "jpeg_quality": 97,
        "jpeg_subsampling": 0,
    }
    return Camera(**{**plain, **changes})


def plain_frame(
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
    shape: tuple[int, int],
    alloy: Specimen,
    microscope: Camera,
    *,
    bar: bool = False,
) -> SyntheticFrame:
    """A frame of these conditions, height and width `shape`; without `bar` it gets none."""
    with monkeypatch.context() as patched:
        patched.setattr(
            "hptl_deploy.synthesis.frame.draw_conditions",
            lambda seed, number: (np.random.default_rng([seed, number]), alloy, microscope),
        )
        if not bar:
            patched.setattr(
                "hptl_deploy.synthesis.frame.burn_in",
                lambda rng, pixels, pixel_size_um: np.zeros(pixels.shape[:2], bool),
            )
        return make_frame(seed, 0, *shape)


def depth(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How far each pixel [H, W] of `mask` lies from the nearest outside it, in px; outside 0."""
    inside: NDArray[np.float64] = ndimage.distance_transform_edt(mask)
    return inside


def signed_distance(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """To the edge of `mask` [H, W], which runs between pixels: negative inside, in px."""
    return np.where(mask, 0.5 - depth(mask), depth(~mask) - 0.5)
