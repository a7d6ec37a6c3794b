"""Names of results where inputs come one after the other, as in a watched folder.

A base that was given stays: results lie under it. So of two inputs that share a stem, the
one that comes late takes the longer name, while `naming.result_bases`, which knows all of
them beforehand, gives both the longer one.

    names = LateNames(ledger.bases(), listing.names)
    names.name("sub/a.tif")          # "sub/a", or "sub/a.tif" where sub/a.png was first
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from types import MappingProxyType

from hptl_deploy.segmentation.inputs.naming import (
    bases_of_folder,
    candidate,
    fold,
    mark,
    page_of,
    safe_folder,
    safe_folders,
    safe_part,
)


class LateNames:
    """Gives every input a base for good. The same history gives the same bases.

    For one thread. No two bases, and no two bases' pages, are one name on any file system;
    neither are any two folders.
    """

    def __init__(self, earlier: Mapping[str, str], listed: Iterable[str]) -> None:
        """Keep `earlier` bases, by input, and name those of `listed` that have none.

        Without `earlier` the bases are those of `result_bases`. Of two earlier ones that
        clash, as after runs without a watch, the first keeps its base and the other is named
        anew. A base that no run can have given, such as one that leads out of the results
        folder, counts for nothing.
        """
        self._bases: dict[str, str] = {}
        self._taken: set[str] = set()
        """Folded bases."""
        self._paged: set[str] = set()
        """Folded bases of which a taken one would be a page."""
        self._folders: dict[str, str] = {"": ""}
        """Places below the out folder, by places below the input folder."""
        self._places: set[str] = set()
        """The same places, folded."""
        for name, base in earlier.items():
            if _is_safe(name, base) and self._is_free(base):
                self._keep_folders(name, base)
                self._take(name, base)
        self._name_listed(listed)

    @property
    def bases(self) -> Mapping[str, str]:
        """Every base so far, by input; a view that grows."""
        return MappingProxyType(self._bases)

    def name(self, relative: str) -> str:
        """The base of an input: the one it has, else its stem, else the next longer free one."""
        if relative not in self._bases:
            folder, _ = _split(relative)
            self._choose(relative, self._folder(folder), _candidates(relative))
        return self._bases[relative]

    def _name_listed(self, listed: Iterable[str]) -> None:
        """Name the newcomers of a listing as if they were alone, where that is free."""
        newcomers: dict[str, list[str]] = defaultdict(list)
        for name in sorted(set(listed) - self._bases.keys()):
            newcomers[_split(name)[0]].append(name)
        proposed = safe_folders(folder for folder in newcomers if folder not in self._folders)
        for folder, names in newcomers.items():
            place = self._folder(folder, proposed)
            for name, base in bases_of_folder(names).items():
                self._choose(name, place, _from(base, _candidates(name)))

    def _choose(self, name: str, place: str, candidates: Iterable[str]) -> None:
        bases = (_joined(place, part) for part in candidates)
        self._take(name, next(base for base in bases if self._is_free(base)))

    def _is_free(self, base: str) -> bool:
        key = fold(base)
        return key not in self._taken and key not in self._paged and page_of(key) not in self._taken

    def _take(self, name: str, base: str) -> None:
        key = fold(base)
        self._bases[name] = base
        self._taken.add(key)
        page = page_of(key)
        if page is not None:
            self._paged.add(page)

    def _folder(self, folder: str, proposed: Mapping[str, str] | None = None) -> str:
        """Where a folder's results lie, from the top down; `proposed` is asked first."""
        for place in _above(folder):
            if place not in self._folders:
                above, part = _split(place)
                choice = (proposed or {}).get(place)
                parts = _folder_candidates(place, part)
                if choice is not None:
                    parts = _from(_split(choice)[1], parts)
                places = (_joined(self._folders[above], part) for part in parts)
                self._place(place, next(one for one in places if fold(one) not in self._places))
        return self._folders[folder]

    def _place(self, folder: str, place: str) -> None:
        self._folders[folder] = place
        self._places.add(fold(place))

    def _keep_folders(self, name: str, base: str) -> None:
        """Folders stay where an earlier base has them; each place is one folder's."""
        for folder, place in zip(_above(_split(name)[0]), _above(_split(base)[0]), strict=True):
            if folder not in self._folders and fold(place) not in self._places:
                self._place(folder, place)


def _split(path: str) -> tuple[str, str]:
    """Folder and name; the folder is empty at the top."""
    folder, _, name = path.rpartition("/")
    return folder, name


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _above(folder: str) -> list[str]:
    """`folder` and all above it, from the top: `a`, `a/b`, `a/b/c`."""
    if not folder:
        return []
    path = PurePosixPath(folder)
    return [str(place) for place in reversed((path, *path.parents)) if str(place) != "."]


def _candidates(name: str) -> Iterator[str]:
    """Ever longer names of one input; whoever is first there may have taken any of them."""
    for level in range(3):
        yield candidate(name, level)
    longest = candidate(name, 2)
    count = 0
    while True:
        count += 1
        yield f"{longest[: -len(mark(name))]}{mark(f'{name}/{count}')}"


def _folder_candidates(folder: str, part: str) -> Iterator[str]:
    safe = safe_folder(part)
    yield safe
    yield f"{safe}-{mark(folder)}"
    count = 0
    while True:
        count += 1
        yield f"{safe}-{mark(f'{folder}/{count}')}"


def _from(first: str, candidates: Iterator[str]) -> Iterator[str]:
    """`candidates` from `first` on."""
    for one in candidates:
        if one == first:
            yield one
            yield from candidates
            return


def _is_safe(name: str, base: str) -> bool:
    """A ledger is a file that anyone may have written into."""
    parts = base.split("/")
    return len(parts) == len(name.split("/")) and all(
        part and part == safe_part(part) for part in parts
    )
