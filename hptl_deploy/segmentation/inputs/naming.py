"""What the results of an input are called: one name each, safe on every system.

The results of `sub/a.tif` begin with `sub/a`. Two inputs of one folder that share a stem
both carry their extension, and a stem that looks like a page of another (`a_p0002` beside
`a`) carries its own, because whether `a` has pages is not known from a listing. All of it
is decided from the full list of names, so that every process that sees the list agrees.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from hptl_deploy.results import OVERVIEW_FILES

OUTPUT_ENDINGS = (
    *("_classes.tif", "_confidence.tif", "_overlay.jpg", "_overlay.png"),
    "_particles.parquet",
    *("_particles.tif", "_particles.geojson", "_particles.zip"),
    *("_classes.ome.zarr", "_confidence.ome.zarr"),
)
_OWN_FILES = ("fields.csv", "failures.csv", "run.json", "ledger.jsonl", *OVERVIEW_FILES)

_FORBIDDEN = re.compile(r'[<>:"|?*\\\x00-\x1f\x7f\ud800-\udfff]')
_DEVICE = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?=\s*(\.|$))", re.IGNORECASE
)
_PAGE = re.compile(r"(.+)_p\d{4,}", re.DOTALL)

# 255 bytes is the limit of common file systems; the longest ending of ours is
# `_p0000000002_confidence.ome.zarr` (32), and the temporary names are shorter still.
_LONGEST_BASE = 255 - 32


def result_bases(names: Iterable[str]) -> dict[str, str]:
    """The beginning of every result's name, by input.

    `names` are the inputs' paths below the input folder, forward slashes, with extension;
    the values are paths below the out folder, without page and kind. No two results of
    any two inputs share a name, on systems that ignore case and Unicode form too.
    """
    parents: dict[str, list[str]] = defaultdict(list)
    for name in sorted(set(names)):
        parents[str(PurePosixPath(name).parent)].append(name)
    folders = safe_folders(parents)
    bases = {}
    for parent, members in parents.items():
        for name, base in bases_of_folder(members).items():
            bases[name] = base if parent == "." else f"{folders[parent]}/{base}"
    return bases


def renamed(bases: Mapping[str, str]) -> dict[str, str]:
    """The inputs whose results are not called after them letter by letter, with that name."""
    return {
        name: base
        for name, base in bases.items()
        if base not in (name, str(PurePosixPath(name).with_suffix("")))
    }


def page_base(base: str, page: int, pages: int) -> str:
    """`base` for a file of one page, `base_p0002` for page 2 of several."""
    return base if pages == 1 else f"{base}_p{page:04d}"


def page_of(base: str) -> str | None:
    """The base that has `base` for the name of a page, if there is one: `a` of `a_p0002`."""
    page = _PAGE.fullmatch(base)
    return page.group(1) if page else None


def safe_part(part: str) -> str:
    """One file or folder name without what Windows forbids.

    `a:b` -> `a_b`, `CON` -> `CON_`, `a. ` -> `a__`.
    """
    part = _FORBIDDEN.sub("_", part)
    part = _DEVICE.sub(r"\1_", part, count=1) if _DEVICE.match(part) else part
    kept = part.rstrip(". ")
    return kept + "_" * (len(part) - len(kept))


def fold(name: str) -> str:
    """Equal where a file system may take two names for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def mark(text: str) -> str:
    """What tells `text` from others in a name."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _fit(part: str, original: str, limit: int) -> str:
    """`part`, or its beginning and a hash of `original` where it is too long in UTF-8."""
    if len(part.encode("utf-8")) <= limit:
        return part
    cut = part.encode("utf-8")[: limit - 9].decode("utf-8", "ignore")
    return f"{cut}-{mark(original)}"


def candidate(name: str, level: int) -> str:
    """Level 0: the stem; 1: with its extension; 2: with a hash of the path as well."""
    path = PurePosixPath(name)
    part = safe_part(path.stem if level == 0 else path.name)
    if level == 2:
        part = f"{_fit(part, name, _LONGEST_BASE - 9)}-{mark(name)}"
    return _fit(part, name, _LONGEST_BASE)


def bases_of_folder(names: list[str]) -> dict[str, str]:
    """The bases of one folder's inputs, without the folder.

    Names in conflict are raised, all of them at once, until there is no conflict.
    """
    levels = dict.fromkeys(names, 0)
    stems = {fold(candidate(name, 0)) for name in names}
    for name in names:
        if page_of(fold(candidate(name, 0))) in stems:
            levels[name] = 1
    while raised := _in_conflict(levels):
        for name in raised:
            levels[name] += 1
    return {name: candidate(name, level) for name, level in levels.items()}


def _in_conflict(levels: Mapping[str, int]) -> list[str]:
    """Who must take a longer name; nobody beyond level 2, which ends in its own hash."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, level in levels.items():
        groups[fold(candidate(name, level))].append(name)
    raised = []
    for key, members in groups.items():
        if len(members) > 1 or page_of(key) in groups:
            lowest = min(levels[name] for name in members)
            raised += [name for name in members if levels[name] == lowest < 2]
    return raised


def safe_folders(parents: Iterable[str]) -> dict[str, str]:
    """Every folder's place below the out folder, by its place below the input folder."""
    children: dict[str, set[str]] = defaultdict(set)
    for parent in parents:
        path = PurePosixPath(parent)
        for place in (path, *path.parents):
            if str(place) != ".":
                children[str(place.parent)].add(str(place))
    safe = {".": "."}
    for parent in sorted(children, key=_depth):  # a parent is placed before its children
        groups: dict[str, list[str]] = defaultdict(list)
        for folder in sorted(children[parent]):
            groups[fold(safe_folder(PurePosixPath(folder).name))].append(folder)
        for members in groups.values():
            for folder in members:
                part = safe_folder(PurePosixPath(folder).name)
                if len(members) > 1:
                    part = f"{part}-{mark(folder)}"
                above = safe[parent]
                safe[folder] = part if above == "." else f"{above}/{part}"
    return safe


def _depth(folder: str) -> tuple[int, str]:
    return (0 if folder == "." else folder.count("/") + 1, folder)


def safe_folder(part: str) -> str:
    """One folder's name as a folder of results."""
    safe = _fit(safe_part(part), part, _LONGEST_BASE)
    # A folder called like a result would stand where that result belongs.
    if fold(safe).endswith(OUTPUT_ENDINGS) or fold(safe) in _OWN_FILES:
        return f"{safe}_"
    return safe
