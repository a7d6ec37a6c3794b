"""Keys of phases: stated, or made of names in any script."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hptl_deploy.datasets import load_data_set
from hptl_deploy.datasets.description import label_code
from hptl_deploy.errors import DataSetError
from hptl_deploy.phases import key_from_name
from hptl_deploy.wording import is_obeyed
from support.data_sets import write_data_set


def keys(*phases: str | tuple[str, str]) -> tuple[list[str], list[str]]:
    """Keys of phases given as name or (name, key), and the problems found."""
    entries = [
        {"name": phase} if isinstance(phase, str) else {"name": phase[0], "key": phase[1]}
        for phase in phases
    ]
    coloured = [entry | {"colour": [0, 0, place]} for place, entry in enumerate(entries)]
    problems: list[str] = []
    code = label_code({"phases": coloured}, problems)
    return [phase.key for phase in code.phases], problems


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("aluminium matrix", "aluminium_matrix"),
        ("Mg2Si", "mg2si"),
        ("network carbide", "network_carbide"),
        ("Widmanstaetten", "widmanstaetten"),
        ("Widmanstätten (fine)", "widmanstatten_fine"),
        ("Al–Si", "alsi"),
        ("α", "alpha"),
        ("α-Al", "alpha_al"),
        ("βAlFeSi", "beta_alfesi"),
        ("γ′", "gamma"),
        ("Σ", "sigma"),
        ("ς", "sigma"),
        ("λ", "lambda"),
        ("ϵ ά Ω", "epsilon_alpha_omega"),
        ("\N{MICRO SIGN}", "mu"),
        ("\N{GREEK SMALL LETTER MU}", "mu"),
        ("Weißer Ätzsaum", "weisser_atzsaum"),
        ("Al₃Fe", "al3fe"),
        ("铁", ""),
    ],
)
def test_names_are_spelt_in_ascii(name: str, key: str) -> None:
    assert key_from_name(name) == key
    assert key_from_name(key) == key


@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        (("α", "β", "γ"), ["alpha", "beta", "gamma"]),
        (("α-Al", "β-Al"), ["alpha_al", "beta_al"]),
        (("matrix", "铁", "碳化物"), ["matrix", "phase_1", "phase_2"]),
        (("γ", "γ′", "γ″"), ["gamma", "gamma_2", "gamma_3"]),
        (("Al", "aluminium matrix"), ["al", "al_2"]),
        (("铁 a", "铝 a", "a 2"), ["a", "a_2", "a_2_2"]),
        ((("铁", "fe"), "Fe"), ["fe", "fe_2"]),
        (("Fe", ("铁", "fe")), ["fe_2", "fe"]),
        (("x", "铁", ("y", "phase_1")), ["x", "phase_1_2", "phase_1"]),
        (("aluminium matrix", "Mg2Si", "Fe-containing phase"), ["al", "mg2si", "fe"]),
    ],
)
def test_every_phase_gets_a_key_of_its_own(
    phases: tuple[str | tuple[str, str], ...], expected: list[str]
) -> None:
    assert keys(*phases) == (expected, [])


def _harmless(name: str) -> bool:
    return bool(name.strip()) and not any(map(is_obeyed, name))


@given(st.lists(st.text(min_size=1).filter(_harmless), min_size=2, max_size=20, unique=True))
def test_any_names_will_do(names: list[str]) -> None:
    found, problems = keys(*names)
    assert problems == []
    assert len(set(found)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9_]+", key) for key in found)


@pytest.mark.parametrize(
    ("phases", "problem"),
    [
        (
            ("a", "b\x1b[2J\nc"),
            "[[phases]] 2 b?[2J c: its name holds a line break or control character",
        ),
        (("a", " "), "[[phases]] 2: expected a name (and a key of a-z, 0-9, _), found ''"),
        (
            ("a", ("β", "β")),
            "[[phases]] 2 β: expected a name (and a key of a-z, 0-9, _), found 'β'",
        ),
        (("a", ("b", "")), "[[phases]] 2 b: expected a name (and a key of a-z, 0-9, _), found ''"),
        ((("a", "x"), ("b", "x")), "[[phases]]: keys must differ, found x, x"),
        (("β", "β"), "[[phases]]: keys must differ, found beta, beta"),
    ],
)
def test_stated_keys_are_valid_and_all_phases_differ(
    phases: tuple[str | tuple[str, str], ...], problem: str
) -> None:
    assert keys(*phases)[1] == [problem]


def test_a_data_set_with_greek_names_is_read(tmp_path: Path) -> None:
    description = "".join(
        f'[[phases]]\nname = "{name}"\ncolour = [{place}, 0, 0]\n'
        for place, name in enumerate(("α-Al", "β-Al", "铁"))
    )
    phases = load_data_set(write_data_set(tmp_path, "abc", description=description)).phases
    assert [(phase.key, phase.name) for phase in phases] == [
        ("alpha_al", "α-Al"),
        ("beta_al", "β-Al"),
        ("phase_2", "铁"),
    ]
    (tmp_path / "dataset.toml").write_text(
        description.replace('name = "铁"', 'name = "铁"\nkey = "Fe"'), encoding="utf-8"
    )
    with pytest.raises(DataSetError, match=r"3 铁: expected a name .*, found 'Fe'$"):
        load_data_set(tmp_path)
