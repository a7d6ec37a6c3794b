"""A folder split over machines: which inputs a shard takes, and where its bookkeeping lies.

A shard takes the inputs whose names hash to it. So shards need no common listing: whatever
each of them finds, and whenever it looks, no input falls to two of them, and none of those that
all have seen falls to nobody. Class maps and overlays of all shards go into one results folder,
under the names of an unsharded run; what a run must have to itself lies in a folder per shard:

    OUT/sub/a_classes.tif ...       everybody's
    OUT/shards/3-of-8/run.json      shard 3/8's alone: run.json, fields.csv, failures.csv,
                                    ledger.jsonl with its lock
    OUT/run.json, fields.csv, ...   made by merge, which takes the shards' folders away; or of an
                                    earlier run, whose ledger the shards go on from

Either one run without --shard is at OUT, or merge, or any number of different shards of one count.
Each takes its own lock first and looks at the others' then, so of two that exclude each
other at least one sees the other.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hptl_deploy.errors import InputError, ResultsError, UsageError
from hptl_deploy.files import sha256_json
from hptl_deploy.results import RUN_FILE, SHARDS_FOLDER, read_run, shard_homes
from hptl_deploy.segmentation.ledger import is_being_written

if TYPE_CHECKING:
    from hptl_deploy.segmentation.inputs.listing import Failure, Listing
    from hptl_deploy.segmentation.tables import Tables

_SHOWN = 4


@dataclass(frozen=True)
class Shard:
    """One of `count` shares, counted from 1."""

    number: int
    count: int

    def __str__(self) -> str:
        """As on the command line."""
        return f"{self.number}/{self.count}"

    def takes(self, relative: str) -> bool:
        """True where the input of that name is this shard's."""
        digest = hashlib.sha256(form(relative).encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest) % self.count == self.number - 1

    def home(self, out: Path) -> Path:
        """Where its bookkeeping lies below the results folder."""
        return out / SHARDS_FOLDER / f"{self.number}-of-{self.count}"


def form(name: str) -> str:
    """Equal for one name, in whichever Unicode form a machine's file system shows it."""
    return unicodedata.normalize("NFC", name)


def parse_shard(text: str) -> Shard:
    """`3/8` -> Shard(3, 8). Raises UsageError for anything that is no such thing."""
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text.strip())
    if match is None:
        raise UsageError(
            f"--shard {text}: expected the shard's number and how many there are, such as 3/8"
        )
    number, count = int(match[1]), int(match[2])
    if count == 0:
        raise UsageError(f"--shard {text}: expected at least one shard, such as 1/1")
    if not 1 <= number <= count:
        raise UsageError(
            f"--shard {text}: shards are counted from 1, so expected one of 1/{count} to "
            f"{count}/{count}"
        )
    return Shard(number, count)


def share(listing: Listing, shard: Shard) -> Listing:
    """The part of a listing that is the shard's; names of results are decided from all of it."""
    files = [listed for listed in listing.files if shard.takes(listed.relative)]
    failures = [failure for failure in listing.failures if shard.takes(failure.file)]
    every = len(listing.files) + len(listing.failures)
    mine = len(files) + len(failures)
    note = f"shard {shard}: takes {mine} of the {every} inputs"
    if not mine:
        note = f"shard {shard}: none of the {every} inputs falls to it, so there is nothing to do"
    return replace(
        listing,
        files=files,
        failures=failures,
        notes=[*listing.notes, note],
        elsewhere=_elsewhere(listing, shard),
    )


def _elsewhere(listing: Listing, shard: Shard) -> list[Failure]:
    """Others' failures that their own listings may not show: folders and links differ by machine.

    A folder that cannot be read here hides inputs that are this shard's.
    """
    names = set(listing.names)
    return [
        failure
        for failure in listing.failures
        if failure.file not in names and not shard.takes(failure.file)
    ]


def shard_document(shard: Shard, listing: Listing, tables: Tables) -> dict[str, Any]:
    """What a shard's run.json says of it, for merge."""
    return {
        "number": shard.number,
        "count": shard.count,
        "listing_sha256": sha256_json(listing.names),
        "names": [name for name in listing.names if shard.takes(name)],
        "failures": [vars(failure) for failure in tables.all_failures()],
        "elsewhere": [vars(failure) for failure in listing.elsewhere],
    }


def begun_shards(out: Path, apart_from: Shard | None = None) -> list[Shard]:
    """The shards in a results folder that were begun and are not merged yet, in order."""
    homes = {Shard(*place): home for place, home in shard_homes(out).items()}
    return [
        shard
        for shard, home in homes.items()
        if shard != apart_from and ((home / RUN_FILE).is_file() or is_being_written(home))
    ]


def check_shards(out: Path, shard: Shard | None, source: Path) -> None:
    """Refuse a run that must not go into `out` beside what is going on there.

    `shard` is this run's own, whose ledger is locked by now. Raises ResultsError where shards
    and a run without --shard, or shards of different counts, would meet; InputError where the
    other shards are of another folder.
    """
    begun = begun_shards(out, apart_from=shard)
    if shard is None:
        if begun:
            raise ResultsError(
                f"{out}: holds shards that are not merged yet ({shown(map(str, begun))})",
                hint=f"Join them first with `hptl-deploy merge {out}`, or choose another --out",
            )
        return
    others = [other for other in begun if other.count != shard.count]
    if others:
        raise ResultsError(
            f"{out}: is being segmented in {others[0].count} shards ({shown(map(str, others))}), "
            f"not in {shard.count}",
            hint=f"Go on with --shard 1/{others[0].count} and so on and merge them, or choose "
            "another --out",
        )
    if is_being_written(out):
        raise ResultsError(
            f"{out}: a run without --shard, or merge, is writing these results",
            hint="Wait until it ends, or choose another --out",
        )
    _check_input(out, begun, source)


def _check_input(out: Path, begun: Iterable[Shard], source: Path) -> None:
    """One of the others is enough: it has looked at one of its others."""
    for other in begun:
        recorded = read_run(other.home(out))
        if recorded is None:
            continue  # it has not come so far
        before = Path(str(recorded.get("input")))
        if before.exists() and not before.samefile(source):
            raise InputError(
                f"{out}: holds shard {other} of {before}, not of {source}",
                hint="Choose another --out",
            )
        return


def shown(names: Iterable[str]) -> str:
    """The first few of some names and how many more there are."""
    every = list(names)
    more = len(every) - _SHOWN
    return ", ".join(every[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
