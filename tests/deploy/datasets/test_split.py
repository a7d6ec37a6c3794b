from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hptl_deploy.datasets.split import assign_splits

NAMES = [f"s{number:03d}" for number in range(100)]


def split(table: dict[str, object], stems: list[str], root: Path = Path()) -> dict[str, str]:
    problems: list[str] = []
    found = assign_splits(stems, table, root, problems)
    assert problems == []
    return found


def problem(table: dict[str, object], stems: list[str], root: Path = Path()) -> str:
    problems: list[str] = []
    assign_splits(stems, table, root, problems)
    (one,) = problems
    return one


def test_a_list_file(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes("\ufeffa.png\r\n\r\n b \r\nµ.1\r\n".encode())
    stems = ["a", "b", "c", "µ.1"]
    assert split({"train": "t.txt"}, stems, tmp_path) == {
        "a": "train", "b": "train", "µ.1": "train",
    }  # fmt: skip
    sentence = problem({"val": "gone.txt"}, stems, tmp_path)
    assert sentence.startswith("[split] val: the list gone.txt cannot be read (")


def test_a_stem_may_have_dots_of_its_own() -> None:
    found = split({"train": ["a.v1", "a.v2.png"]}, ["a.v1", "a.v2", "a.v3"])
    assert found == {"a.v1": "train", "a.v2": "train"}


def test_shares_do_not_depend_on_the_order_of_the_listing() -> None:
    table: dict[str, object] = {"train": 0.8, "val": 0.1, "test": 0.1, "seed": 3}
    shuffled = random.Random(1).sample(NAMES, len(NAMES))
    found = split(table, NAMES)
    assert found == split(table, shuffled)
    counts = [list(found.values()).count(name) for name in ("train", "val", "test")]
    assert counts == [80, 10, 10]
    assert found != split({**table, "seed": 4}, NAMES)


def test_a_share_is_of_what_no_list_names() -> None:
    found = split({"test": NAMES[:20], "val": 0.25}, NAMES)
    assert [name for name, which in found.items() if which == "test"] == NAMES[:20]
    val = [name for name, which in found.items() if which == "val"]
    assert len(val) == 20
    assert not set(val) & set(NAMES[:20])


@settings(max_examples=300)
@given(
    parts=st.tuples(*[st.integers(0, 100)] * 4).filter(lambda parts: sum(parts) > 0),
    count=st.integers(0, 100),
)
def test_every_share_gets_its_samples(parts: tuple[int, int, int, int], count: int) -> None:
    whole = sum(parts)
    shares = {
        name: part / whole for name, part in zip(("train", "val", "test"), parts[:3], strict=True)
    }
    found = list(split(dict(shares), NAMES[:count]).values())
    wanted = [name for name, share in shares.items() if share]
    assert set(found) <= set(wanted)
    if count >= len(wanted):
        assert set(found) == set(wanted)
    for name in wanted:
        # Rounding, and one sample for each of two other splits however small their shares.
        assert abs(found.count(name) - shares[name] * count) < 3


def test_the_few_are_for_training_first() -> None:
    table: dict[str, object] = {"train": 0.8, "val": 0.1, "test": 0.1}
    assert sorted(split(table, ["a"]).values()) == ["train"]
    assert sorted(split(table, ["a", "b"]).values()) == ["train", "val"]
    assert sorted(split(table, ["a", "b", "c"]).values()) == ["test", "train", "val"]


@pytest.mark.parametrize("shares", [(0.5, 0.6), (-0.1, 0.5), (float("nan"), 0.5)])
def test_shares_that_make_no_sense(shares: tuple[float, float]) -> None:
    assert problem({"train": shares[0], "val": shares[1]}, NAMES) == (
        "[split] shares must be 0 or more and sum to at most 1, found "
        f"{{'train': {shares[0]}, 'val': {shares[1]}}}"
    )


def test_without_train_what_is_left_trains() -> None:
    found = split({"val": 0.2, "test": NAMES[:10]}, NAMES)
    assert set(found) == set(NAMES)
    counts = [list(found.values()).count(name) for name in ("train", "val", "test")]
    assert counts == [72, 18, 10]  # a fifth of the 90 that no list names
    assert list(split({"test": ["s000"]}, NAMES).values()).count("train") == 99
