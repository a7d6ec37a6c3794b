"""The report as a browser shows and prints it."""

from __future__ import annotations

import html
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hptl_deploy.report import write_report
from support.browser import Browser
from support.drawings import blobs
from support.made_up_results import CARD, made_up_row, write_made_up

WIDTHS = (320, 390, 820, 1300)
LONG = "specimen-with-a-very-long-name-that-has-no-space_" * 4


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """With everything that a report can hold, and names that are hard to set."""
    folder = tmp_path / "out"
    rows = [
        made_up_row(f"{LONG}/{LONG}{n}.tif", 0.01 + n / 1000, mean_confidence=0.9 + n / 100,
                    flags="blurred; uneven light; unlike the training micrographs" * (n % 2),
                    left_out_px=100, left_out="scale bar; bottom 120 rows")
        for n in range(5)
    ]  # fmt: skip
    outputs = [row["classes_file"].replace("_classes.tif", "_overlay.jpg") for row in rows]
    for number, name in enumerate(outputs):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(blobs(600, 800, number)).save(folder / name)
    failures = [(f"{LONG}.tif", "read", "expected a TIFF, found something else. " * 4)]
    write_made_up(folder, rows, outputs, failures, card=CARD | {"synthetic": True})
    return write_report(folder)


def test_it_is_seen(report: Path, browser: Browser) -> None:
    pixels = np.asarray(Image.open(browser.screenshot(report, 1200, 3000)).convert("RGB"))
    assert pixels.shape == (3000, 1200, 3)
    for colour in ((255, 0, 0), (255, 255, 0), (35, 82, 124)):  # two phases, headings
        assert (pixels == colour).all(axis=-1).sum() > 50, colour
    assert (pixels == 255).all(axis=-1).mean() > 0.5  # plain paper


def test_it_prints_in_pages(report: Path, browser: Browser) -> None:
    printed = browser.pdf(report)
    assert printed.startswith(b"%PDF-")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b(?!s)", printed)) <= 9


def test_nothing_sticks_out(report: Path, browser: Browser) -> None:
    """In frames of these widths: a browser's own window is never narrower than 500."""
    script = (
        "addEventListener('load', () => { document.body.dataset.found = "
        "[...document.querySelectorAll('iframe')].map(frame => { const page = "
        "frame.contentDocument.documentElement; return page.scrollWidth + ' ' + "
        "page.querySelectorAll('table').length }).join(', ') })"
    )
    source = html.escape(report.read_text(encoding="utf-8"))
    frames = "".join(
        f'<iframe style="width:{width}px;height:800px;border:0" srcdoc="{source}"></iframe>'
        for width in WIDTHS
    )
    page = report.with_name("frames.html")
    page.write_text(
        f'<meta charset="utf-8"><body>{frames}<script>{script}</script></body>', encoding="utf-8"
    )
    found = re.search(r'data-found="([^"]*)"', browser.document(page))
    assert found is not None
    for width, answer in zip(WIDTHS, found[1].split(", "), strict=True):
        across, tables = map(int, answer.split())
        assert tables >= 5
        assert across <= width
