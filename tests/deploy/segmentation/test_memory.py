from __future__ import annotations

from pathlib import Path

import pytest

from hptl_deploy.engines.base import Capacity
from hptl_deploy.errors import MicrographError
from hptl_deploy.segmentation.memory import MemoryPlan, _group_free, free_bytes, gib, plan_memory

MIB = 1 << 20


CAPACITY = Capacity(stride=8, halo=24, bytes_per_pixel=100.0)


def test_a_frame_that_fits_goes_whole() -> None:
    # 1000 x 1000 px: 100 MB for the engine, 20 MB on their way.
    assert MemoryPlan(200 * MIB, None, 0).plan(1000, 1000, CAPACITY, None).whole


def test_a_frame_that_does_not_fit_goes_in_tiles_that_do() -> None:
    memory = MemoryPlan(80 * MIB, None, 0)
    plan = memory.plan(1000, 1000, CAPACITY, None)
    rows, columns = plan.largest_read
    assert not plan.whole
    assert rows * columns * 100 <= 60 * MIB


def test_a_frame_larger_than_the_queues_share_leaves_less_to_the_engine() -> None:
    memory = MemoryPlan(80 * MIB, None, 0)
    rows, columns = memory.plan(1800, 1800, CAPACITY, None).largest_read
    assert rows * columns * 100 <= 80 * MIB - 1800 * 1800 * 20


def test_a_frame_beyond_all_memory_is_refused() -> None:
    with pytest.raises(MicrographError) as caught:
        MemoryPlan(80 * MIB, None, 0).plan(50_000, 100_000, CAPACITY, None)
    assert str(caught.value) == (
        "100000 x 50000 px need 93.1 GiB of memory, but 80 MiB are planned for this run. "
        "Cut the micrograph into parts or use a machine with more memory"
    )


def test_a_forced_tile_must_fit_too() -> None:
    memory = MemoryPlan(80 * MIB, None, 0)
    assert memory.plan(1000, 1000, CAPACITY, 256).core == (256, 256)
    with pytest.raises(MicrographError) as caught:
        memory.plan(1800, 1800, CAPACITY, 1024)
    assert str(caught.value) == (
        "a tile of 1048 x 1048 px (core 1024 and halos) needs 105 MiB, but 18 MiB are planned "
        "for inference. Choose a smaller --tile, or leave it out"
    )


def test_a_card_has_its_own_memory() -> None:
    plan = MemoryPlan(8000 * MIB, 20 * MIB, 0).plan(1000, 1000, CAPACITY, None)
    assert not plan.whole


def test_a_recorded_budget_is_taken_up_while_it_fits() -> None:
    fresh = plan_memory("cpu")
    assert plan_memory("cpu", {"budget_bytes": 123 * MIB, "device_bytes": None}).budget == 123 * MIB
    for unfit in (
        {"budget_bytes": 1 << 60, "device_bytes": None},
        {"budget_bytes": 123 * MIB, "device_bytes": 5},
        {"budget_bytes": "much"},
        {},
        None,
    ):
        assert plan_memory("cpu", unfit).budget == pytest.approx(fresh.budget, rel=0.2)


def test_a_share_of_free_memory_is_planned() -> None:
    plan = plan_memory("cpu")
    assert 0 < plan.budget <= 0.7 * plan.free
    assert free_bytes() > 0


@pytest.mark.parametrize("version", [1, 2])
def test_group_limits_count_on_every_level(tmp_path: Path, version: int) -> None:
    limit, usage = (
        ("memory.limit_in_bytes", "memory.usage_in_bytes")
        if version == 1
        else ("memory.max", "memory.current")
    )
    top = tmp_path / "memory" if version == 1 else tmp_path
    for folder, most in ((top, "max"), (top / "job", "1000"), (top / "job" / "step", "5000")):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / limit).write_text(most)
        (folder / usage).write_text("400")
        (folder / "memory.stat").write_text("anon 1\ninactive_file 100\n")
    groups = "4:cpu,memory:/job/step\n" if version == 1 else "0::/job/step\n"
    assert sorted(_group_free(groups, tmp_path)) == [700, 4700]


def test_without_a_mounted_group_there_is_no_limit(tmp_path: Path) -> None:
    assert _group_free("0::/elsewhere\n9:name=systemd:/\n", tmp_path) == []


def test_gib() -> None:
    assert gib(2.5 * 2**30) == "2.5 GiB"
    assert gib(35 * MIB) == "35 MiB"
