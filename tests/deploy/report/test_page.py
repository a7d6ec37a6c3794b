from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hptl_deploy.report import write_report
from support.made_up_results import CARD, made_up_row, write_made_up
from support.pages import Page

HOSTILE = "<script>alert(1)</script>\"'&\u202egnp.a/Aluminium µ größe 日本.tif"


def page_of(out: Path) -> Page:
    return Page(write_report(out).read_text(encoding="utf-8"))


def fields(count: int) -> list[dict[str, Any]]:
    generator = np.random.default_rng(7)
    return [
        made_up_row(f"s/{n:04d}.tif", *generator.uniform(0.01, 0.03, 2).tolist())
        for n in range(count)
    ]


def of_table(page: Page, head: str) -> list[list[str]]:
    """The rows of the table whose header has the cell `head`."""
    (found,) = (table for table in page.tables if head in table[0])
    return found[1:]


def test_nothing_of_the_page_lies_elsewhere(tmp_path: Path) -> None:
    Image.new("RGB", (80, 60)).save(tmp_path / "a_overlay.jpg")
    out = write_made_up(tmp_path, [made_up_row("a.tif")], ["a_overlay.jpg"])
    page = page_of(out)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "a", "base"}
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert name not in {"href", "srcset", "action", "poster"}
            assert not name.startswith("on")
            assert name != "src" or (value or "").startswith("data:image/jpeg;base64,"), tag
    text = (out / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|url\(|@import|//\w", re.sub(r"base64,[^\"]*", "", text))


def test_names_of_others_are_text(tmp_path: Path) -> None:
    row = made_up_row(HOSTILE, flags=f"blurred; {HOSTILE}", left_out_px=48, left_out=HOSTILE)
    card = CARD | {"training": {HOSTILE: HOSTILE}, "licence": {"weights": HOSTILE}}
    model = {"name": HOSTILE, "sha256": row["model_sha256"], "card": card}
    out = write_made_up(
        tmp_path / "out", [row], failures=[("<img src=x onerror=alert(1)>", "read", "<b>no</b>")],
        model=model, input=f"/data/{HOSTILE}", settings={HOSTILE: HOSTILE},
    )  # fmt: skip
    page = page_of(out)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "img", "b"}
    assert "\u202e" not in page.text
    shown = HOSTILE.replace("\u202e", "?")
    assert page.text.count(shown) >= 7
    assert "<img src=x onerror=alert(1)>" in page.text


def test_every_field_has_its_figures(tmp_path: Path) -> None:
    rows = fields(20)
    page = page_of(write_made_up(tmp_path, rows))
    shown = of_table(page, "size px")
    assert len(shown) == 20
    for row, cells in zip(rows, shown, strict=True):
        assert cells[:4] == [row["file"], "1", "800 × 600", "0.25"]
        fractions = [row[f"{key}_area_fraction"] for key in ("al", "mg2si", "fe")]
        assert [float(cell) for cell in cells[4:7]] == pytest.approx(
            [100 * fraction for fraction in fractions], abs=0.00501
        )
        assert cells[7] == "99.00"


def test_two_thousand_fields_stay_small(tmp_path: Path) -> None:
    out = write_made_up(tmp_path, fields(2000))
    page = page_of(out)
    assert (out / "report.html").stat().st_size < 3_000_000
    assert len(of_table(page, "size px")) == 300
    assert "The first 300 of 2000 fields." in page.text
    assert "How many of the 2000 fields have which area fraction." in page.text


def test_validation_stands_beside_the_figures(tmp_path: Path) -> None:
    page = page_of(write_made_up(tmp_path, fields(2)))
    assert of_table(page, "overlap (IoU) 0 to 1") == [
        ["aluminium matrix", "0.991", "95.00", "95.10", "+0.10", "+0.1", "–"],
        ["Mg2Si", "0.812", "2.00", "1.90", "−0.10", "−5.0", "0.17"],
        ["Fe-containing phase", "0.703", "3.00", "3.00", "0.00", "0.0", "–"],
    ]
    assert "12.3 million pixels of labelled micrographs that it did not learn from" in page.text
    assert "it called 98.76 % of the pixels as the labels do" in page.text
    assert "synthetic" not in page.text.replace("does not call synthetic", "")


def test_a_model_without_scores(tmp_path: Path) -> None:
    page = page_of(write_made_up(tmp_path / "a", fields(2), card=CARD | {"validation": {}}))
    assert "Nothing is known of the segmentation's error:" in page.text
    page = page_of(write_made_up(tmp_path / "b", fields(2), card=None))
    assert "an earlier version, which did not note the model's validation scores" in page.text


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ({}, "pixel size learned 0.2 µm"),
        ({"trained_pixel_sizes_um": [0.06, 0.14]}, "pixel size learned 0.06 to 0.14 µm"),
        ({"pixel_size_um": None}, "pixel size learned not stated"),
    ],
)
def test_which_pixel_sizes_the_model_knows(
    tmp_path: Path, card: dict[str, Any], words: str
) -> None:
    assert words in page_of(write_made_up(tmp_path, fields(1), card=CARD | card)).text


def banners(page: Page) -> list[str]:
    return [a["class"] or "" for tag, a in page.tags if tag == "div" and "banner" in str(a)]


def test_the_loud_warnings(tmp_path: Path) -> None:
    assert banners(page_of(write_made_up(tmp_path / "a", fields(2)))) == []
    page = page_of(write_made_up(tmp_path / "b", fields(2), card=CARD | {"synthetic": True}))
    assert banners(page) == ["banner loud"]
    assert "The model learned from synthetic micrographs alone." in page.text
    assert "labelled synthetic micrographs" in page.text
    page = page_of(write_made_up(tmp_path / "c", []))
    assert banners(page) == ["banner loud"]
    assert "There are no fields." in page.text


def test_warnings_about_sizes_and_what_is_missing(tmp_path: Path) -> None:
    rows = [
        made_up_row("a.tif", pixel_size_um=None, pixel_size_source="unknown"),
        made_up_row("b.tif"),
        made_up_row("c.tif", pixel_size_um=0.12),
    ]
    failures = [(f"{n}.tif", "read", "damaged") for n in range(150)]
    counts = {"remaining": 3}
    page = page_of(
        write_made_up(tmp_path, rows, failures=failures, state="interrupted", counts=counts)
    )
    assert banners(page) == ["banner plain"] * 3
    assert "3 micrographs are not done; the same command goes on from here." in page.text
    assert "150 micrographs are missing from all figures" in page.text
    assert "The pixel size of 1 of 3 fields is unknown," in page.text
    assert "0.12 to 0.25 µm per pixel in 2 fields, as stated by TIFF tags." in page.text
    assert len(of_table(page, "reason")) == 100
    assert "50 more are in failures.csv." in page.text
    assert of_table(page, "size px")[0][3] == "–"


def test_flags_and_regions_left_out(tmp_path: Path) -> None:
    rows = [
        made_up_row(f"{n}.tif", flags="blurred; uneven light" if n else "", left_out_px=4800 * n,
                    left_out=f"scale bar 61{n} x 88 px at (18{n}, 0); bottom 12 rows" * bool(n))
        for n in range(3)
    ]  # fmt: skip
    page = page_of(write_made_up(tmp_path / "a", rows))
    assert of_table(page, "flag") == [
        ["blurred", "2", "1.tif, 2.tif"], ["uneven light", "2", "1.tif, 2.tif"],
    ]  # fmt: skip
    assert of_table(page, "what") == [
        ["scale bar", "2", "1.tif, 2.tif"], ["bottom 12 rows", "2", "1.tif, 2.tif"],
    ]  # fmt: skip
    assert "In all 1.50 % of the area of 2 fields" in page.text
    assert "2 of 3 fields are flagged as doubtful" in page.text
    judged = {"focus": 0.1, "illumination_range": 0.0, "saturated_fraction": 0.0,
              "unsure_fraction": 0.0, "unlike_training": 0.5}  # fmt: skip
    clean = [made_up_row("a.tif", flags="", left_out_px=0, left_out="", **judged)]
    page = page_of(write_made_up(tmp_path / "b", clean))
    assert "No field was conspicuous" in page.text
    assert "Not judged" not in page.text
    assert "every pixel of every field counts" in page.text
    assert "mosaics are divided into" not in page.text


def test_flags_of_the_fields_of_mosaics(tmp_path: Path) -> None:
    """Fields are counted, files are named; a mosaic of an earlier version has none."""
    saturated, unsure = "saturated", "low confidence"
    flags: tuple[list[str], ...] = (
        [saturated, "", f"{saturated}; {unsure}"], [unsure, saturated], [],
    )  # fmt: skip
    rows = [
        made_up_row(f"{n}.tif", mosaic_fields=[made_up_row("", flags=one) for one in parts])
        for n, parts in enumerate(flags)
    ]
    rows.append(made_up_row("old.tif", mosaic_fields=[made_up_row("")]))
    page = page_of(write_made_up(tmp_path / "a", rows))
    assert (
        "Of the 6 fields that mosaics are divided into: 3 saturated (0.tif, 1.tif); 2 low "
        "confidence (0.tif, 1.tif). Their places: mosaic_fields in ledger.jsonl." in page.text
    )


def test_a_phase_that_no_field_shows_is_not_certain_to_be_nowhere(tmp_path: Path) -> None:
    rows = [made_up_row(f"{n}.tif", 0.01 * n, 0.0) for n in range(3)]
    page = page_of(write_made_up(tmp_path, rows))
    row = next(
        line
        for line in of_table(page, "area fraction mean, %")
        if line[0].endswith("Fe-containing phase")
    )
    assert row[1:] == ["0.00", "–", "0.00", "–", "3", "–"]
    assert "Fields that are all equal, as where none shows a phase, give no interval" in page.text
    assert "Fe-containing phase 0.00 % (3 fields, no interval)" in page.text


def test_one_is_one_and_equal_sizes_are_one_size(tmp_path: Path) -> None:
    rows = [made_up_row("a.tif", pixel_size_um=0.5, segmented_pixel_size_um=0.5, flags="blurred")]
    rows += [
        made_up_row(f"{n}.tif", pixel_size_um=size, segmented_pixel_size_um=2 * size, flags="")
        for n, size in enumerate([0.25, 0.25000003])
    ]
    text = page_of(write_made_up(tmp_path / "a", rows)).text
    assert "1 of 3 fields is flagged as doubtful" in text
    assert "2 fields were brought to 0.5 µm per pixel" in text
    assert "1 field was brought" in page_of(write_made_up(tmp_path / "b", rows[:2])).text


def test_what_was_not_judged_is_no_good_news(tmp_path: Path) -> None:
    # A mosaic has no focus, a model without statistics knows no likeness.
    rows = [
        made_up_row(f"{n}.tif", flags="", focus=focus, illumination_range=0.1, unsure_fraction=0.0,
                    saturated_fraction=0.0, unlike_training=None)
        for n, focus in enumerate([0.1, 0.2, None])
    ]  # fmt: skip
    assert (
        "focus of 1 field; likeness to the training data of all fields. No flag says nothing"
    ) in page_of(write_made_up(tmp_path, rows)).text


def test_results_of_an_earlier_version_say_what_is_missing(tmp_path: Path) -> None:
    page = page_of(write_made_up(tmp_path, fields(2), card=None))
    assert "were not checked: these results are of an earlier version" in page.text
    assert "scale bars and captions were not looked for" in page.text


def test_the_command_can_be_given_again(tmp_path: Path) -> None:
    settings = {"pixel_size_um": None, "overlay": "jpg", "confidence": False,
                "also": ["labels", "geojson"], "ignore": []}  # fmt: skip
    page = page_of(write_made_up(tmp_path / "o", fields(1), settings=settings))
    assert "overlay jpg confidence no also labels, geojson ignore not set" in page.text
    assert (
        f"hptl-deploy segment '/data/alloy 7' --out {tmp_path / 'o'} --model "
        "/models/made-up/model.onnx --precision fp32 --also labels,geojson"
    ) in page.text
