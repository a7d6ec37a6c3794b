from __future__ import annotations

import platform
import re

import pytest

from hptl_deploy.engines.machine import count_cards, this_machine


@pytest.mark.parametrize(
    ("system", "processor", "said"),
    [
        ("Linux", "x86_64", "linux-x86_64"),
        ("Windows", "AMD64", "windows-x86_64"),
        ("Linux", "aarch64", "linux-aarch64"),
    ],
)
def test_a_system_has_one_name(
    monkeypatch: pytest.MonkeyPatch, system: str, processor: str, said: str
) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: processor)
    assert this_machine().os == said


def test_a_card_that_is_not_there() -> None:
    machine = this_machine(count_cards())
    assert (machine.card, machine.driver) == (None, None)


@pytest.mark.gpu
def test_a_card_and_its_driver() -> None:
    if not count_cards():
        pytest.skip("needs an NVIDIA card")
    machine = this_machine()
    assert machine.card is not None
    assert re.fullmatch(r"\d+\.\d", machine.card.capability)
    assert machine.card.name.strip()
    assert re.fullmatch(r"\d+\.\d+(\.\d+)?", machine.driver or "")
