from __future__ import annotations

from pathlib import Path
from typing import Any, cast

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


def test_a_frame_larger_than_the_queues_share_is_read_in_bands() -> None:
    memory = MemoryPlan(80 * MIB, None, 0)  # 20 MiB for frames, so two bands of 10
    assert memory.plan(1023, 1024, CAPACITY, None).band is None
    plan = memory.plan(1025, 1024, CAPACITY, None)
    rows, columns = plan.largest_read
    assert plan.band is not None
    assert memory.held(plan) == 12 * 1024 * min(1025, plan.band + 2 * 24) <= 10 * MIB
    assert rows * columns * 100 <= 60 * MIB


def test_a_mosaic_is_one_whatever_memory_there_is() -> None:
    memory = MemoryPlan(1 << 40, None, 0)
    assert memory.plan(5000, 10_000, CAPACITY, None).band is None
    assert memory.plan(5000, 10_001, CAPACITY, None).band is not None


def test_a_very_wide_page_goes_in_bands_that_leave_no_room_for_a_second() -> None:
    # 304 rows x 100000 px x 12 bytes = 348 MiB. Of 4 GiB, a quarter may be a band's, of which
    # the queues need but 400 MiB.
    memory = MemoryPlan(4096 * MIB, None, 0, most_frames=400 * MIB)
    plan = memory.plan(3000, 100_000, CAPACITY, None)
    assert 200 * MIB < memory.held(plan) <= 1024 * MIB
    rows, columns = plan.largest_read
    assert rows * columns * 100 <= 3072 * MIB


def test_a_page_whose_bands_are_beyond_all_memory_is_refused() -> None:
    with pytest.raises(MicrographError) as caught:
        MemoryPlan(80 * MIB, None, 0).plan(50_000, 100_000, CAPACITY, None)
    assert str(caught.value) == (
        "100000 x 50000 px cannot be cut into bands that fit: 20 MiB are planned for a band, "
        "60 MiB for inference. Cut the micrograph into parts or use a machine with more memory"
    )


class _Page:
    """Of which only what reading it takes is asked."""

    def __init__(self, need: int) -> None:
        self.need = need
        self.asked: list[tuple[int, int]] = []

    def band_bytes(self, rows: int, overlap: int = 0) -> int:
        self.asked.append((rows, overlap))
        return self.need


def test_a_format_that_is_decoded_whole_must_fit_beside_the_rest() -> None:
    memory = MemoryPlan(4096 * MIB, None, 0)
    plan = memory.plan(10_000, 10_000, CAPACITY, None)
    assert plan.band is not None
    rows, columns = plan.largest_read
    left = 3072 * MIB - rows * columns * 100
    fits = _Page(left)
    assert memory.check_bands(cast(Any, fits), plan, CAPACITY) == left
    assert fits.asked == [(plan.band + 48, 48)]
    with pytest.raises(MicrographError) as caught:
        memory.check_bands(cast(Any, _Page(left + 1)), plan, CAPACITY)
    assert str(caught.value) == (
        f"10000 x 10000 px cannot be read in parts from this file: reading needs {gib(left + 1)} "
        f"of memory, {gib(left)} are left. Save it as a tiled or an uncompressed TIFF"
    )
    on_card = MemoryPlan(4096 * MIB, 5000 * MIB, 0)  # where tiles are not in this memory
    assert on_card.check_bands(cast(Any, _Page(3072 * MIB)), plan, CAPACITY) == 3072 * MIB


def test_a_forced_tile_must_fit_too() -> None:
    memory = MemoryPlan(80 * MIB, None, 0)
    assert memory.plan(1000, 1000, CAPACITY, 256).core == (256, 256)
    with pytest.raises(MicrographError) as caught:
        memory.plan(1000, 1000, CAPACITY, 800)
    assert str(caught.value) == (
        "a tile of 824 x 824 px (core 800 and halos) needs 65 MiB, but 60 MiB are planned "
        "for inference. Choose a smaller --tile, or leave it out"
    )
    with pytest.raises(MicrographError) as caught:  # in bands of 256 rows, with halos 304
        memory.plan(900, 2500, CAPACITY, 2400)
    assert str(caught.value) == (
        "a tile of 304 x 2424 px (core 2400 and halos) needs 70 MiB, but 60 MiB are planned "
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
