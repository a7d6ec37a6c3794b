"""What the columns of the joined tables mean, for the sheet About of summary.xlsx."""

from __future__ import annotations

EXPLAINED = (
    (
        "method",
        "Mean over fields with its confidence interval, in the manner of ASTM E562 and E1245. A "
        "field is one observation, and every field counts the same, whatever its size.",
    ),
    (
        "not in the interval",
        "How far a segmented area is from the true one (see the validation columns), and whatever "
        "the fields at hand do not show: other places, other specimens.",
    ),
    ("n_fields", "Fields in which the quantity is known."),
    ("s", "Standard deviation between fields, divisor n - 1."),
    (
        "ci95",
        "Half-width of the 95 % confidence interval of the mean: t(0.975, n - 1) s / sqrt(n); "
        "blank for one field, and where all fields are equal.",
    ),
    ("ra_percent", "Relative accuracy: 100 ci95 / mean."),
    (
        "fields_for_10_percent",
        "Smallest n with t(0.975, n - 1) s / sqrt(n) <= 0.1 mean, if mean and s stay as they are.",
    ),
    ("more_fields_needed", "Of these, the ones that are still to be taken."),
    (
        "validation_...",
        "The model's errors on its validation micrographs, in fp32: intersection over union; area "
        "fraction found minus true, pooled; mean absolute error of a micrograph. They are "
        "of areas, so blank beside numbers and free paths; `not stated` where the model's card "
        "says nothing.",
    ),
    (
        "by number, by area",
        "D10, D50, D90: the smallest equivalent diameter up to which 10, 50, 90 % of the "
        "particles, or of their area, lie. Particles cut by a border are left out.",
    ),
    (
        "under_10_px",
        "Of the particles that no border cuts (measured), those of less than 10 px; they are in "
        "all counts and sizes, and often crumbs of the segmentation at rims. "
        "under_10_px_area_share: their share of the area.",
    ),
    (
        "needle_shaped_...",
        "Share of the particles (uncut, 100 px or more: with_shape) whose aspect ratio is "
        "needle_aspect or more. Shape alone does not identify a phase such as beta-Al5FeSi.",
    ),
    (
        "Sizes: lower, upper",
        "Limits of a class of equivalent diameters, in `unit`; it holds the lower one and not the "
        "upper one. `area` is in the square of `unit`; the shares are of number and of area "
        "among the uncut particles of this group, phase and unit.",
    ),
    (
        "Fields",
        "The columns of fields.csv. Those that end in _fraction are shares of what is not "
        "left out; focus is in px. A blank is a figure that is not known.",
    ),
    (
        "phase, al_..., mg2si_...",
        "A phase is its name with the key of the CSV tables in brackets; columns of Fields begin "
        "with the key.",
    ),
    (
        "fraction",
        "Area fractions and shares are 0 to 1 in all sheets, as in the CSV tables; only "
        "ra_percent is in per cent.",
    ),
    ("um and px", "px stands where the pixel size is unknown; the two are never mixed."),
)
