from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from hptl_deploy.doctor.findings import EightBit
from hptl_deploy.doctor.processor import dot_products, from_cpuinfo, from_numpy, processor

INTEL = """processor\t: 0
model name\t: Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz
flags\t\t: fpu sse2 avx avx2 avx512f avx512_vnni
vmx flags\t: avx_vnni
"""
CLIENT = "model name\t: 12th Gen Intel(R) Core(TM) i7\nflags\t\t: avx2 avx_vnni\n"
OLD = "model name : AMD FX\nflags : sse2 avx\n\nprocessor : 1\nflags : sse2 avx avx2\n"
ARM = "processor\t: 0\nBogoMIPS\t: 243.75\nFeatures\t: fp asimd aes asimddp\n"
OLD_ARM = "processor\t: 0\nFeatures\t: fp asimd aes\n"


def eight_bit(
    avx2: bool | None = False,
    avx512_vnni: bool | None = False,
    avx_vnni: bool | None = False,
    arm_dotprod: bool | None = False,
) -> EightBit:
    return {
        "avx2": avx2,
        "avx512_vnni": avx512_vnni,
        "avx_vnni": avx_vnni,
        "arm_dotprod": arm_dotprod,
    }


@pytest.mark.parametrize(
    ("text", "found", "fast"),
    [
        (INTEL, eight_bit(avx2=True, avx512_vnni=True), True),
        (CLIENT, eight_bit(avx2=True, avx_vnni=True), True),
        (OLD, eight_bit(), False),
        (ARM, eight_bit(arm_dotprod=True), True),
        (OLD_ARM, eight_bit(), False),
    ],
)
def test_what_linux_lists(text: str, found: EightBit, fast: bool) -> None:
    assert from_cpuinfo(text) == found
    assert dot_products(found) is fast


@pytest.mark.parametrize("text", ["", "processor : 0\nmodel name : something\n"])
def test_where_linux_lists_nothing(text: str) -> None:
    assert from_cpuinfo(text) is None


def test_dot_products_that_nobody_knows_of() -> None:
    assert dot_products(eight_bit(avx2=True, avx_vnni=None)) is None
    assert dot_products(eight_bit(avx512_vnni=True, avx_vnni=None)) is True


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's list of the processor")
def test_numpy_and_linux_agree() -> None:
    listed = from_cpuinfo(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    found = from_numpy()
    assert listed is not None
    for key in ("avx2", "avx512_vnni", "arm_dotprod"):
        assert found[key] == listed[key], key


def test_this_processor() -> None:
    found = processor()
    assert found["name"].strip()
    assert (found["threads"] or 0) >= (found["cores"] or 0) >= 0
    if platform.machine().lower() in ("x86_64", "amd64"):
        assert found["eight_bit"]["arm_dotprod"] is False
