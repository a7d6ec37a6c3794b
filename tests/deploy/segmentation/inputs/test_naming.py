from __future__ import annotations

import itertools
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hptl_deploy.segmentation.inputs.naming import (
    OUTPUT_ENDINGS,
    page_base,
    renamed,
    result_bases,
    safe_part,
)


@pytest.mark.parametrize(
    ("names", "bases"),
    [
        (["a.tif", "b.png"], ["a", "b"]),
        (["sub/a.tif", "a.tif"], ["sub/a", "a"]),
        (["a.tif", "a.png", "b.png"], ["a.tif", "a.png", "b"]),
        (["A.tif", "a.png"], ["A.tif", "a.png"]),
        (["a.tif", "a.tif.png", "a.png"], ["a.tif", "a.tif.png", "a.png"]),
        (["a.tif", "a_p0002.png"], ["a", "a_p0002.png"]),
        (["a.tif", "a.png", "a_p0002.png"], ["a.tif", "a.png", "a_p0002.png"]),
        (["a_p0002.png"], ["a_p0002"]),
        (["a.tif", "sub/a_p0002.png"], ["a", "sub/a_p0002"]),
        (["a.tif_p0002.tif", "a.tif", "a.png"], ["a.tif_p0002.tif", "a.tif", "a.png"]),
        (["CON.tif", "com1.png", "console.tif"], ["CON_", "com1_", "console"]),
        (["aux.alloy.tif"], ["aux_.alloy"]),
        (["a:b?.tif", "end .tif", "dot..tif"], ["a_b_", "end_", "dot_"]),
        (["NUL/a.tif", "x. /a.tif"], ["NUL_/a", "x__/a"]),
        (["µm größe 日本.tif"], ["µm größe 日本"]),
        (["a_classes.tif/b.png", "a.png"], ["a_classes.tif_/b", "a"]),
    ],
)
def test_names(names: list[str], bases: list[str]) -> None:
    assert result_bases(names) == dict(zip(names, bases, strict=True))


def test_names_that_differ_in_case_only_carry_a_hash() -> None:
    bases = result_bases(["a.tif", "A.tif", "X/1.tif", "x/1.tif"])
    assert len({base.casefold() for base in bases.values()}) == 4
    assert bases["a.tif"].startswith("a.tif-")
    assert bases["x/1.tif"].startswith("x-")


def test_one_name_in_two_unicode_forms_is_two_inputs() -> None:
    names = [unicodedata.normalize(form, "größe.tif") for form in ("NFC", "NFD")]
    bases = {unicodedata.normalize("NFC", base) for base in result_bases(names).values()}
    assert len(bases) == 2


def test_the_order_of_the_listing_does_not_matter() -> None:
    names = ["a.tif", "a.png", "a_p0002.png", "b/a.tif", "B/a.tif", "CON.tif"]
    expected = result_bases(names)
    for order in itertools.permutations(names):
        assert result_bases(order) == expected


def test_a_long_name_is_cut_and_keeps_apart() -> None:
    names = ["日" * 80 + f"{end}.tif" for end in "ab"]
    bases = list(result_bases(names).values())
    assert len(set(bases)) == 2
    assert all(len(f"{base}_p0000000002_confidence.tif".encode()) <= 255 for base in bases)


def test_pages() -> None:
    assert page_base("a", 1, 1) == "a"
    assert page_base("a", 2, 3) == "a_p0002"


def test_only_changed_names_are_reported() -> None:
    bases = result_bases(["a.tif", "b.tif", "b.png", "CON.tif"])
    assert renamed(bases) == {"CON.tif": "CON_"}


@pytest.mark.parametrize(
    ("part", "safe"),
    [("a\x07b", "a_b"), ("lpt9.x", "lpt9_.x"), ("COM¹", "COM¹_"), ("...", "___"), ("ok.x", "ok.x")],
)
def test_safe_part(part: str, safe: str) -> None:
    assert safe_part(part) == safe


_WORDS = st.sampled_from(
    ["a", "A", "a.tif", "a_p0002", "a_p0002_p0003", "con", "b ", "b_", "b", "é", "e\u0301", "a-"]
)
_NAMES = st.builds(
    lambda folder, stem, suffix: f"{folder}{stem}{suffix}",
    st.sampled_from(["", "", "f/", "F/", "f./", "a_classes.tif/"]),
    _WORDS,
    st.sampled_from([".tif", ".TIF", ".png", ".tif.png"]),
)


@settings(max_examples=200)
@given(st.sets(_NAMES, max_size=12))
def test_no_two_results_ever_share_a_name(names: set[str]) -> None:
    outputs = [
        unicodedata.normalize("NFC", page_base(base, page, pages) + ending).casefold()
        for base in result_bases(names).values()
        for page, pages in ((1, 1), (1, 3), (2, 3), (3, 3))
        for ending in OUTPUT_ENDINGS
    ]
    folders = {output.rsplit("/", 1)[0] for output in outputs if "/" in output}
    assert len(set(outputs)) == len(outputs)
    assert not folders & set(outputs)
