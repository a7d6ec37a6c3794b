from __future__ import annotations

import unicodedata
from itertools import product
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hptl_deploy.segmentation.inputs.late_names import LateNames
from hptl_deploy.segmentation.inputs.naming import OUTPUT_ENDINGS, page_base, result_bases
from hptl_deploy.segmentation.ledger import Entry, Ledger


def arrive(*names: str, earlier: dict[str, str] | None = None) -> list[str]:
    late = LateNames(earlier or {}, [])
    return [late.name(name) for name in names]


@pytest.mark.parametrize(
    ("names", "bases"),
    [
        (["a.tif", "b.png"], ["a", "b"]),
        (["a.tif", "a.png"], ["a", "a.png"]),
        (["a.tif", "A.png"], ["a", "A.png"]),
        (["a.tif", "a_p0002.png"], ["a", "a_p0002.png"]),
        (["a_p0002.png", "a.tif"], ["a_p0002", "a.tif"]),  # a.tif may have a second page
        (["a_p0002.png", "A.tif"], ["a_p0002", "A.tif"]),
        (["a_p0002.png", "b/a.tif"], ["a_p0002", "b/a"]),
        (["a.tif", "a_p0002_p0003.png", "a_p0002.jpg"], ["a", "a_p0002_p0003", "a_p0002.jpg"]),
        (["a.tif.png", "a.jpg", "a.tif"], ["a.tif", "a", None]),
        (["CON.tif", "con_.tif"], ["CON_", "con_.tif"]),
        (["é.tif", "e\u0301.png"], ["é", "e\u0301.png"]),
        (["a:.tif", "a_.tif"], ["a_", "a_.tif"]),
        (["f/a.tif", "F/a.tif", "f/b.tif", "F/b.tif"], ["f/a", None, "f/b", None]),
        (["a_classes.tif/b.png", "a.png"], ["a_classes.tif_/b", "a"]),
        (["NUL/x /a.tif", "NUL/x_/a.tif"], ["NUL_/x_/a", None]),
    ],
)
def test_who_comes_late_takes_the_longer_name(names: list[str], bases: list[str | None]) -> None:
    given_ = arrive(*names)
    assert [b if e else e for b, e in zip(given_, bases, strict=True)] == bases
    assert len({base.casefold() for base in given_}) == len(names)


def test_names_that_differ_in_case_only_end_with_a_hash() -> None:
    first, second, third = arrive("a.tif", "A.tif", "a.TIF")
    assert (first, second) == ("a", "A.tif")
    assert third.startswith("a.TIF-")


def test_a_name_made_to_look_like_a_hash_does_not_take_it() -> None:
    third = arrive("a.tif", "A.tif", "a.TIF")[2]
    names = ["a.tif", "A.tif", f"{third}.png", "a.TIF"]
    assert arrive(*names)[2] == third
    assert len({base.casefold() for base in arrive(*names)}) == 4


def test_folders_stay_where_they_are() -> None:
    late = LateNames({"F/a.tif": "F-12345678/a"}, ["f/b.tif", "F/b.tif"])
    assert late.bases["F/b.tif"] == "F-12345678/b"
    assert late.bases["f/b.tif"] == "f/b"
    assert late.name("F/sub/c.tif") == "F-12345678/sub/c"


def test_a_listing_at_the_start_is_named_as_a_run_without_watch_names_it() -> None:
    names = ["a.tif", "a.png", "a_p0002.png", "b/a.tif", "B/a.tif", "CON.tif", "B/C/x.tif"]
    late = LateNames({}, reversed(names))
    assert late.bases == result_bases(names)
    assert late.name("a.jpg") == "a"  # nobody has it
    assert late.name("b/a.tif") == result_bases(names)["b/a.tif"]


def test_earlier_bases_are_kept_and_the_newcomers_of_the_start_are_named_among_themselves() -> None:
    late = LateNames({"a.tif": "a", "c.png": "c.png"}, ["a.tif", "a.png", "b.tif", "b.png"])
    assert late.bases == {
        "a.tif": "a",
        "c.png": "c.png",
        "a.png": "a.png",
        "b.png": "b.png",
        "b.tif": "b.tif",
    }


def test_earlier_bases_that_clash() -> None:
    # After runs without watch: first a.tif was there, then a.png alone, then A_p0002.tif.
    late = LateNames({"a.tif": "a", "a.png": "a", "A_p0002.tif": "A_p0002"}, ["a.png", "b.tif"])
    assert late.bases == {"a.tif": "a", "a.png": "a.png", "b.tif": "b"}
    assert late.name("A_p0002.tif") == "A_p0002.tif"


@pytest.mark.parametrize("base", ["../a", "/a", "x/../a", "x//a", "a", "x/", "C:/a", "..\\a/b", ""])
def test_a_base_that_leads_elsewhere_counts_for_nothing(base: str) -> None:
    assert LateNames({"x/a.tif": base}, ["x/a.tif"]).bases == {"x/a.tif": "x/a"}


def test_a_ledger_says_what_still_holds(tmp_path: Path) -> None:
    def entry(file: str, base: str, *outputs: str) -> Entry:
        return Entry(file, 1, "", "", "", base, dict.fromkeys(outputs, 1), [])

    with Ledger(tmp_path) as ledger:
        ledger.append(entry("failed.tif", "a"))
        ledger.append(entry("old.tif", "a", "a_classes.tif"))
        ledger.append(entry("new.png", "a", "A_classes.tif"))
        assert list(ledger.bases().items()) == [("new.png", "a"), ("failed.tif", "a")]


_STEMS = ["a", "A", "a.tif", "a_p0002", "A_p0002", "a_p0002_p0003", "con", "CON_", "b ", "b_", "b:"]
_NAMES = st.builds(
    lambda folder, stem, suffix: f"{folder}{stem}{suffix}",
    st.sampled_from(["", "", "f/", "F/", "f./", "f_/", "f/g/", "F/g/", "a_classes.tif/"]),
    st.sampled_from([*_STEMS, "é", "e\u0301", "é_p0002", "日" * 90, "日" * 89 + "本"]),
    st.sampled_from([".tif", ".TIF", ".png"]),
)
_Run = tuple[set[str], list[str], Random]
_RUNS = st.tuples(st.sets(_NAMES, max_size=6), st.lists(_NAMES, max_size=8), st.randoms())
_KINDS = list(product([(1, 1), (1, 3), (2, 3), (3, 3)], OUTPUT_ENDINGS))


def folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def check_apart(bases: dict[str, str]) -> None:
    """No two results of any two inputs are one file anywhere, nor a folder's name."""
    outputs = [
        folded(page_base(base, page, pages) + ending)
        for base in bases.values()
        for (page, pages), ending in _KINDS
    ]
    folders = {folded(base.rsplit("/", 1)[0]) for base in bases.values() if "/" in base}
    assert len(set(outputs)) == len(outputs)
    assert not folders & set(outputs)
    pairs = {
        (name.rpartition("/")[0], folded(base).rpartition("/")[0]) for name, base in bases.items()
    }
    assert len({place for _, place in pairs}) == len(pairs)  # one folder's results in one folder
    for base in bases.values():
        assert all(len(f"{part}_p0000000002_confidence.tif".encode()) <= 255
                   for part in base.split("/"))  # fmt: skip


@settings(max_examples=150)
@given(st.lists(_RUNS, min_size=1, max_size=4))
def test_bases_are_unique_and_final_whatever_comes_when(runs: list[_Run]) -> None:
    ledger: dict[str, str] = {}
    for listed, arriving, chance in runs:
        late = LateNames(ledger, listed)
        first = dict(late.bases)
        assert all(first[name] == base for name, base in ledger.items())
        given_ = [late.name(name) for name in arriving]
        assert given_ == [late.bases[name] for name in arriving]
        assert all(late.bases[name] == base for name, base in first.items())
        check_apart(dict(late.bases))
        again = LateNames(ledger, listed)
        assert [again.name(name) for name in arriving] == given_
        # A kill at any moment: some of what was given has reached the ledger.
        done = [name for name in sorted(late.bases) if name in ledger or chance.random() < 0.6]
        ledger = {name: late.bases[name] for name in done}


@settings(max_examples=100)
@given(st.sets(_NAMES, max_size=10))
def test_without_a_past_a_listing_is_named_as_ever(names: set[str]) -> None:
    assert dict(LateNames({}, names).bases) == result_bases(names)
