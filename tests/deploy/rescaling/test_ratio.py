"""Whether a micrograph is rescaled, and by how much."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from hptl_deploy.errors import MicrographError
from hptl_deploy.micrographs.base import UNCALIBRATED, Calibration
from hptl_deploy.rescaling.ratio import nearest_ratio, ratio_of


def of(size: float) -> Calibration:
    return Calibration(size, "OME")


def test_it_is_the_pixel_size_over_the_trained_one() -> None:
    assert ratio_of(of(0.25), 0.5) == Fraction(1, 2)
    assert ratio_of(of(1.0), 0.5) == 2
    assert ratio_of(of(0.4), 0.3) == Fraction(4, 3)


def test_nothing_is_rescaled_that_is_near_enough_or_unknown_or_switched_off() -> None:
    for size in (0.5, 0.477, 0.524):
        assert ratio_of(of(size), 0.5) is None
    for size in (0.475, 0.526):
        assert ratio_of(of(size), 0.5) not in (None, 1)
    assert ratio_of(UNCALIBRATED, 0.5) is None
    assert ratio_of(of(0.1), None) is None
    assert ratio_of(of(0.1), 0.5, "off") is None
    assert ratio_of(of(50.0), 0.5, "off") is None


def test_every_factor_has_a_ratio_of_small_numbers_that_is_less_than_a_per_cent_off() -> None:
    for factor in np.geomspace(1 / 8, 4, 3000):
        ratio = nearest_ratio(float(factor))
        assert abs(float(ratio) / factor - 1) < 0.009
        assert max(ratio.numerator, ratio.denominator) <= 64


def test_both_ends_of_what_is_rescaled_belong_to_it() -> None:
    assert ratio_of(of(2.0), 0.5) == 4
    assert ratio_of(of(0.0625), 0.5) == Fraction(1, 8)


def test_a_pixel_size_that_cannot_be_right_is_refused() -> None:
    with pytest.raises(MicrographError) as caught:
        ratio_of(of(10.0), 0.5)
    assert str(caught.value) == (
        "has a pixel size of 10 um (OME), 20 times the 0.5 um that the model learned from; what is "
        "rescaled lies between 1/8 and 4 times. Check the pixel size (--pixel-size), or segment it "
        "as it is with --rescale off"
    )
    with pytest.raises(MicrographError, match=r"0\.02 um \(OME\), 1/25 of the 0\.5 um"):
        ratio_of(of(0.02), 0.5)
