"""Ledger, tables and counts, kept from several threads at once."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hptl_deploy.errors import ResultsError
from hptl_deploy.micrographs.base import UNCALIBRATED
from hptl_deploy.phases import PAPER_PHASES
from hptl_deploy.segmentation.books import Books
from hptl_deploy.segmentation.clock import Clock
from hptl_deploy.segmentation.inputs.listing import Failure, Listed
from hptl_deploy.segmentation.items import Job, PageOf
from hptl_deploy.segmentation.ledger import LEDGER_FILE, Entry, Ledger
from hptl_deploy.segmentation.tables import Tables
from hptl_deploy.statistics.joined import JoinedTables
from hptl_deploy.statistics.table_options import TableOptions
from hptl_deploy.tiling import plan_frame

PLAN = plan_frame(10, 20, stride=8, halo=0)


class Desk:
    """Books of a folder with jobs f0, f1, ..., and what they told."""

    def __init__(self, out: Path, ledger: Ledger, jobs: int) -> None:
        self.out, self.ledger = out, ledger
        names = [f"f{number}" for number in range(jobs)]
        self.jobs = [Job(Listed(out / name, name), name) for name in names]
        joined = JoinedTables(out, PAPER_PHASES, {}, TableOptions())
        self.tables, self.clock = Tables(out, lambda: names, joined), Clock()
        self.shares: Counter[str] = Counter()
        self.failures: list[Failure] = []
        self.books = Books(out, ledger, self.tables, self.clock, "m" * 64, "s" * 64, self._tell)

    def _tell(self, share: float, name: str, failure: Failure | None) -> None:
        self.shares[name] += share  # type: ignore[assignment]  # counts shares
        if failure is not None:
            self.failures.append(failure)

    def write(self, job: Job, page: int, pages: int) -> None:
        """As the writer does: first the result, then its word."""
        name = f"{job.base}_p{page}"
        (self.out / name).write_text("12345")
        of = PageOf(job, page, pages, PLAN, UNCALIBRATED)
        self.books.page_done(of, {name: 5}, row(job, page))

    def results(self) -> set[str]:
        return {path.name for path in self.out.glob("f*_p*")}

    def lines(self) -> list[dict[str, Any]]:
        text = (self.out / LEDGER_FILE).read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]


def row(job: Job, page: int) -> dict[str, Any]:
    fractions = {f"{phase.key}_area_fraction": 0.25 for phase in PAPER_PHASES}
    return {"file": job.listed.relative, "page": page, **fractions}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path) as opened:
        yield opened


def test_rows_are_in_the_order_of_pages_and_files(tmp_path: Path, ledger: Ledger) -> None:
    desk = Desk(tmp_path, ledger, 3)
    for number, page in [(2, 3), (0, 2), (2, 1), (1, 1), (0, 1), (2, 2), (0, 3), (1, 3), (1, 2)]:
        desk.write(desk.jobs[number], page, 3)
    assert [(one["file"], one["page"]) for one in desk.tables.all_rows()] == [
        (f"f{number}", page) for number in range(3) for page in (1, 2, 3)
    ]
    assert [entry["file"] for entry in desk.lines()] == ["f2", "f0", "f1"]  # as they were done
    for entry in desk.lines():
        assert [one["page"] for one in entry["rows"]] == [1, 2, 3]
        assert entry["outputs"] == {f"{entry['file']}_p{page}": 5 for page in (1, 2, 3)}
    assert desk.books.counts == {"done": 3}
    assert desk.shares == {"f0": 1.0, "f1": 1.0, "f2": 1.0}
    assert desk.clock.to_json()["pages"] == 9
    assert desk.clock.to_json()["megapixels"] == pytest.approx(9 * 200 / 1e6, abs=1e-3)


def test_many_threads_write_at_once(tmp_path: Path, ledger: Ledger) -> None:
    desk = Desk(tmp_path, ledger, 30)
    work = [(job, page) for job in desk.jobs for page in (1, 2, 3, 4)]
    random.Random(0).shuffle(work)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: desk.write(one[0], one[1], 4), work, timeout=60))
    assert sorted(entry["file"] for entry in desk.lines()) == sorted(
        job.listed.relative for job in desk.jobs
    )
    assert [(one["file"], one["page"]) for one in desk.tables.all_rows()] == [
        (job.listed.relative, page) for job in desk.jobs for page in (1, 2, 3, 4)
    ]
    assert desk.books.counts == {"done": 30}
    assert len(desk.results()) == 120
    assert not desk.books._parts  # nothing is kept of what is done


@pytest.mark.parametrize("seed", range(5))
def test_a_page_that_fails_while_others_are_written_takes_all_of_them(
    tmp_path: Path, ledger: Ledger, seed: int
) -> None:
    desk = Desk(tmp_path, ledger, 2)
    bad, good = desk.jobs
    pages, begin = 12, threading.Barrier(8, timeout=10)

    def write(number: int) -> None:
        chance = random.Random(100 * seed + number)
        begin.wait()
        for page in range(1 + number, 1 + pages, 8):
            if chance.random() < 0.5:
                desk.write(good, page, pages)
            if page == 5:
                desk.books.failed(bad, "infer", "it cannot be done")
            elif page == 9:
                desk.books.failed(bad, "write", "neither can this")
            else:
                desk.write(bad, page, pages)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8), timeout=60))
    assert not [name for name in desk.results() if name.startswith("f0")]
    (entry,) = desk.lines()
    assert (entry["file"], entry["outputs"], entry["rows"]) == ("f0", {}, [])
    reason = entry["failure"]["reason"]
    assert reason in {"it cannot be done", "neither can this"}
    assert [vars(failure) for failure in desk.failures] == [
        {"file": "f0", "stage": entry["failure"]["stage"], "reason": reason}
    ]
    assert desk.books.counts == {"failed": 1}
    assert desk.tables.all_rows() == []
    assert desk.shares == {"f0": 1.0}
    assert set(desk.books._parts) <= {"f1"}


def test_the_last_page_that_fails_leaves_nothing(tmp_path: Path, ledger: Ledger) -> None:
    desk = Desk(tmp_path, ledger, 1)
    for page in (1, 2):
        desk.write(desk.jobs[0], page, 3)
    assert len(desk.results()) == 2
    desk.books.failed(desk.jobs[0], "read", "page 3 is torn")
    assert desk.results() == set()
    assert desk.jobs[0].abandoned
    desk.write(desk.jobs[0], 3, 3)  # was on its way
    assert desk.results() == set()
    assert len(desk.lines()) == 1


def test_what_is_done_does_not_fail_any_more(tmp_path: Path, ledger: Ledger) -> None:
    """A file that cannot be closed, say, when all of it has been read and written."""
    desk = Desk(tmp_path, ledger, 1)
    desk.write(desk.jobs[0], 1, 1)
    desk.books.failed(desk.jobs[0], "read", "cannot be closed")
    assert desk.books.counts == {"done": 1}
    assert [entry["failure"] for entry in desk.lines()] == [None]
    assert desk.results() == {"f0_p1"}
    assert desk.failures == []


def test_what_was_done_before_counts_and_is_shown(tmp_path: Path, ledger: Ledger) -> None:
    desk = Desk(tmp_path, ledger, 2)
    rows = [row(desk.jobs[0], 1)]
    entry = Entry("f0", 1, "h", "m", "s", "f0", {"f0_p1": 5}, rows)
    desk.books.skipped(desk.jobs[0], entry)
    assert desk.books.counts == {"skipped": 1}
    assert desk.tables.all_rows() == rows
    assert desk.clock.to_json()["pages"] == 0  # no work of this run
    assert desk.lines() == []


def test_a_failure_of_an_earlier_run_is_forgotten_when_it_is_done(
    tmp_path: Path, ledger: Ledger
) -> None:
    desk = Desk(tmp_path, ledger, 1)
    desk.tables.failures["f0"] = Failure("f0", "read", "was torn")
    desk.write(desk.jobs[0], 1, 1)
    assert desk.tables.all_failures() == []
    assert len(desk.tables.all_rows()) == 1


def test_shares_of_bands_and_the_rest_add_up_to_one(tmp_path: Path, ledger: Ledger) -> None:
    desk = Desk(tmp_path, ledger, 1)
    (job,) = desk.jobs
    for page in (1, 2):
        of = PageOf(job, page, 2, PLAN, UNCALIBRATED)
        desk.books.band_done(of, 150, now=True)
        desk.books.band_done(of, 50, now=False)
        assert desk.shares["f0"] == pytest.approx(page / 2)
        desk.books.page_done(of, {}, row(job, page))
    assert desk.shares["f0"] == pytest.approx(1.0)


def test_an_output_that_is_gone_already_is_no_error(tmp_path: Path, ledger: Ledger) -> None:
    desk = Desk(tmp_path, ledger, 1)
    desk.write(desk.jobs[0], 1, 2)
    (tmp_path / "f0_p1").unlink()
    desk.books.failed(desk.jobs[0], "read", "torn")
    assert desk.books.counts == {"failed": 1}


def test_without_a_ledger_nothing_counts_as_done(tmp_path: Path, ledger: Ledger) -> None:
    desk = Desk(tmp_path, ledger, 2)
    (tmp_path / LEDGER_FILE).unlink()
    with pytest.raises(ResultsError, match="has been deleted, so the run stops"):
        desk.write(desk.jobs[0], 1, 1)
    with pytest.raises(ResultsError, match="has been deleted, so the run stops"):
        desk.books.failed(desk.jobs[1], "read", "torn")
    assert desk.books.counts == {}
    assert desk.tables.all_rows() == []
    # The books are free for the next thread.
    assert desk.books._lock.acquire(timeout=1)
