"""What is asked of the driver's library, held against one that stands in for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hptl_deploy.engines.machine import Driver, count_cards, driver_version, free_on_card
from hptl_deploy.errors import EnvironmentLacks
from support import stand_in_driver

ASK = """
import ctypes, json
from hptl_deploy.engines.machine import Driver, count_cards, free_on_card, this_machine
from hptl_deploy.errors import HptlError

def said(ask):
    try:
        return ask()
    except HptlError as exc:
        return f"{type(exc).__name__}: {exc}"

machine = this_machine(1)
library = ctypes.CDLL("libcuda.so.1") if said(Driver).__class__ is Driver else None
print(json.dumps({
    "count": count_cards(),
    "free": [free_on_card(index) for index in (0, 1, 2)],
    "card": None if machine.card is None else str(machine.card),
    "driver": machine.driver,
    "started": said(lambda: Driver() and "yes"),
    "cuda": said(lambda: Driver().cuda()),
    "memory": said(lambda: Driver().memory(0)),
    "total": said(lambda: Driver().total_bytes(1)),
    "held": library and library.stand_in_held(),
}))
"""


def asked() -> dict[str, Any]:
    ended = subprocess.run(
        [sys.executable, "-c", ASK], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_two_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_driver.install(tmp_path, monkeypatch, cards=2)
    free = 20 * 2**30 + 1  # more than 32 bits hold
    found = asked()
    # The display driver's own version is another library's to tell.
    assert found.pop("driver") is not None
    assert found == {
        "count": 2,
        "free": [free, free, None],
        "card": "Stand-in 41 (8.9)",
        "started": "yes",
        "cuda": "13.1",
        "memory": [free, 24 * 2**30],
        "total": 24 * 2**30,
        "held": 0,
    }


def test_a_driver_without_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_driver.install(tmp_path, monkeypatch, init=100, cards=0)
    found = asked()
    assert (found["count"], found["free"], found["card"]) == (0, [None] * 3, None)
    assert (found["started"], found["cuda"]) == ("yes", "13.1")
    assert found["memory"] == "DeviceError: cuDeviceGet: invalid device ordinal"


@pytest.mark.parametrize(
    ("status", "words"),
    [(803, "system has unsupported display driver / cuda driver combination"),
     (999, "error 999")],
)  # fmt: skip
def test_a_driver_that_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, words: str
) -> None:
    stand_in_driver.install(tmp_path, monkeypatch, init=status)
    found = asked()
    assert found["started"] == f"DeviceError: cuInit: {words}"
    assert (found["count"], found["free"], found["card"]) == (0, [None] * 3, None)


def test_a_card_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_driver.install(tmp_path, monkeypatch, cards=2, context=2)
    found = asked()
    assert found["memory"] == "DeviceError: cuDevicePrimaryCtxRetain: out of memory"
    assert (found["count"], found["free"], found["held"]) == (2, [None] * 3, 0)
    assert found["total"] == 24 * 2**30


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's loader")
def test_a_driver_that_is_a_damaged_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / stand_in_driver.LIBRARY).write_bytes(b"no library")
    stand_in_driver.show(tmp_path, monkeypatch)
    found = asked()
    assert found["started"].startswith(
        "EnvironmentLacks: the NVIDIA driver is installed but cannot be loaded ("
    )
    assert (found["count"], found["free"], found["card"]) == (0, [None] * 3, None)


@pytest.mark.skipif(count_cards() > 0, reason="needs a machine without an NVIDIA card")
def test_no_driver() -> None:
    if driver_version() is not None:
        pytest.skip("needs a machine without an NVIDIA driver")
    with pytest.raises(EnvironmentLacks, match=r"^no NVIDIA driver is installed$"):
        Driver()
    assert free_on_card(0) is None


@pytest.mark.gpu
def test_what_is_free_on_a_card() -> None:
    if not count_cards():
        pytest.skip("needs an NVIDIA card")
    free, total = Driver().memory(0)
    assert 0 < free <= total <= Driver().total_bytes(0)
    assert free_on_card(count_cards()) is None
