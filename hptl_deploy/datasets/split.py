"""Which samples train, which choose settings, which are scored at the end."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SPLITS = ("train", "val", "test")
DEFAULT_SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}


def assign_splits(
    stems: Sequence[str], table: dict[str, Any], root: Path, problems: list[str]
) -> dict[str, str]:
    """The split of each stem, by the `[split]` table of a dataset.toml.

    Each of train, val and test is a list file (one name a line), a list of names, or a
    share of the samples that no list names; `seed` (default 0) shuffles the shares. Names
    may carry an extension. Without train, all that is left trains; otherwise stems in no
    split are left out of the result. Whatever is wrong is added to `problems`.
    """
    split_of: dict[str, str] = {}
    shares: dict[str, float] = {}
    known = set(stems)
    for split, entry in table.items():
        if split == "seed":
            continue
        if split not in SPLITS:
            problems.append(f"[split] {split}: expected train, val or test")
        elif isinstance(entry, int | float) and not isinstance(entry, bool):
            shares[split] = float(entry)
        else:
            for name in _names(split, entry, root, problems):
                # The name as it stands first: a stem may have dots of its own.
                stem = name if name in known else Path(name).stem
                if stem not in known:
                    problems.append(f"[split] {split}: names {name}, which is not among the images")
                elif split_of.setdefault(stem, split) != split:
                    problems.append(f"{stem} is in both {split_of[stem]} and {split}")
    seed = table.get("seed", 0)
    if type(seed) is not int:
        problems.append(f"[split] seed: expected an integer, found {seed!r}")
        seed = 0
    # Not `min(...) < 0`: TOML knows nan, and every comparison with it is false.
    if all(share >= 0 for share in shares.values()) and sum(shares.values()) <= 1 + 1e-9:
        rest = [stem for stem in stems if stem not in split_of]
        if "train" not in table:
            # Whoever only says what to keep back trains on the others.
            shares["train"] = 1 - sum(shares.values())
        split_of.update(_by_share(rest, shares, seed))
    else:
        problems.append(f"[split] shares must be 0 or more and sum to at most 1, found {shares}")
    return split_of


def _names(split: str, entry: object, root: Path, problems: list[str]) -> list[str]:
    if isinstance(entry, str):
        try:
            lines = (root / entry).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as exc:
            problems.append(f"[split] {split}: the list {entry} cannot be read ({exc})")
            return []
        return [line.strip() for line in lines if line.strip()]
    if isinstance(entry, list) and all(isinstance(name, str) for name in entry):
        return list(entry)
    problems.append(f"[split] {split}: expected a list file, a list of names or a share")
    return []


def _by_share(stems: Sequence[str], shares: dict[str, float], seed: int) -> dict[str, str]:
    """Deal the stems out in an order that depends on their names and the seed alone."""
    order = sorted(stems, key=lambda stem: hashlib.sha256(f"{seed}/{stem}".encode()).digest())
    counts = {
        split: max(1, round(shares[split] * len(order)))
        for split in reversed(SPLITS)
        if shares.get(split)
    }
    wanted = min(len(order), max(len(counts), round(sum(shares.values()) * len(order))))
    # A share above 0 gets at least one sample; rounding is settled on the largest. Where
    # there are too few samples for that, test goes without, then val.
    while counts and sum(counts.values()) != wanted:
        largest = max(counts, key=counts.__getitem__)
        counts[largest] += 1 if sum(counts.values()) < wanted else -1
    split_of: dict[str, str] = {}
    for split, count in counts.items():
        start = len(split_of)
        split_of.update(dict.fromkeys(order[start : start + count], split))
    return split_of
