"""A browser without a window, to see pages as a reader does."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "msedge")
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
)  # fmt: skip


class Browser:
    """Each call is a process of its own with a profile of its own."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program, self._folder, self._calls = program, folder, 0

    def screenshot(self, page: Path, width: int, height: int) -> Path:
        """A PNG of the top of `page`."""
        picture = self._folder / f"{page.stem}-{width}.png"
        self._run(page, f"--window-size={width},{height}", f"--screenshot={picture}")
        return picture

    def pdf(self, page: Path) -> bytes:
        """`page` as it is printed."""
        printed = self._folder / f"{page.stem}.pdf"
        self._run(page, "--no-pdf-header-footer", f"--print-to-pdf={printed}")
        return printed.read_bytes()

    def document(self, page: Path) -> str:
        """`page` after its scripts have run."""
        return self._run(page, "--window-size=1600,1000", "--dump-dom")

    def _run(self, page: Path, *options: str) -> str:
        self._calls += 1
        profile = self._folder / f"profile-{self._calls}"
        ended = subprocess.run(
            [self._program, *_FLAGS, f"--user-data-dir={profile}", *options, page.as_uri()],
            capture_output=True,
            check=True,
            timeout=120,
        )
        return ended.stdout.decode("utf-8")


@pytest.fixture
def browser(tmp_path_factory: pytest.TempPathFactory) -> Browser:
    """One that is installed; without any the test is skipped."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"needs a browser: {', '.join(NAMES)}")
    return Browser(program, tmp_path_factory.mktemp("browser"))
