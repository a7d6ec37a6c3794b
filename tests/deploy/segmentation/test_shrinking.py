"""A device runs out of memory in the middle: smaller batches, then smaller tiles, the same maps."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np
import pytest
from numpy.typing import NDArray

from hptl_deploy.engines import Engine, open_engine
from hptl_deploy.errors import OutOfDeviceMemory
from hptl_deploy.model import load_model
from hptl_deploy.segmentation.inference import Inference
from hptl_deploy.segmentation.items import Failed, Frame, Solved
from support.patience import within
from support.solving import Source, Watched, check_right, frame_of, noise, solved
from support.threshold_model import write_threshold_model


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Stride 8, halo 24."""
    model = write_threshold_model(tmp_path_factory.mktemp("models"), smoothing=2)
    with open_engine(load_model(model), "cpu") as opened:
        yield opened


class Small(Watched):
    """A device with room for `pixels` at once."""

    def __init__(self, inner: Engine, pixels: int) -> None:
        super().__init__(inner, self._refuse)
        self._pixels = pixels
        self.refused = 0

    def _refuse(self, batch: NDArray[np.uint8]) -> None:
        if prod(batch.shape[:3]) > self._pixels:
            self.refused += 1
            raise OutOfDeviceMemory("no memory left")


def all_of(engine: Engine, source: list[Frame | None], notes: list[str]) -> list[Solved | Failed]:
    return within(60, lambda: solved(Inference(engine, notes.append), Source(source)))


def frames(engine: Engine, *sizes: tuple[int, int], tile: int | None = None) -> list[Frame | None]:
    return [
        frame_of(noise(*size, number), engine, f"m{number}", tile=tile)
        for number, size in enumerate(sizes)
    ]


def check(found: list[Solved | Failed], count: int, reference: Engine) -> None:
    for item in found:
        assert isinstance(item, Solved)
        check_right(item, reference)
    assert sorted(item.frame.job.base for item in found if isinstance(item, Solved)) == sorted(
        f"m{number}" for number in range(count)
    )


def test_batches_are_halved_and_stay_so(reference: Engine) -> None:
    engine, notes = Small(reference, 5 * 40 * 48), list[str]()
    found = all_of(engine, frames(engine, *[(40, 48)] * 32), notes)
    check(found, 32, reference)
    assert notes == [
        "no memory left; going on with at most 8 at a time",
        "no memory left; going on with at most 4 at a time",
    ]
    # What was under way behind a refusal may have been begun with its old size.
    assert {count for count, *_ in engine.given} <= {16, 8, 4}
    assert [count for count, *_ in engine.given][-6:] == [4] * 6


def test_frames_that_wait_are_cut_and_those_that_come_later(reference: Engine) -> None:
    engine, notes = Small(reference, 120 * 130), list[str]()
    sizes = [(120, 180), (40, 40), (120, 180), (128, 176), (120, 180), (16, 24), (200, 120)]
    found = all_of(engine, frames(engine, *sizes), notes)
    check(found, 7, reference)
    tiles = [note for note in notes if "going on in tiles of at most" in note]
    assert len(tiles) == 1
    rows, columns = map(int, tiles[0].split("at most ")[1].split(" px")[0].split(" x "))
    assert rows * columns <= 120 * 184 // 2
    assert max(map(prod, engine.given[-4:])) <= rows * columns


def test_a_frame_with_tiles_that_are_answered_is_cut_again_whole(reference: Engine) -> None:
    """Memory is gone at its last tiles: what is answered is computed anew, nothing is mixed up."""
    engine = Small(reference, 10**9)
    engine.most = lambda rows, columns: 1
    notes = list[str]()
    source = frames(engine, (100, 300), (100, 300), tile=64)
    refuse = engine._refuse

    def shrinking(batch: NDArray[np.uint8]) -> None:
        if len(engine.given) == 8:
            engine._pixels = 80 * 80  # a tile and its halos have up to 88 x 112
        refuse(batch)

    engine._look = shrinking
    found = all_of(engine, source, notes)
    check(found, 2, reference)
    assert 1 <= engine.refused <= 4  # as many as were under way
    assert notes
    assert {note.split(" of at most")[0] for note in notes} == {"no memory left; going on in tiles"}


def test_several_refusals_at_once(reference: Engine) -> None:
    """All batches under way are refused, of several sizes each."""
    engine, notes = Small(reference, 60 * 60), list[str]()
    sizes = [(104, 104), (96, 112), (88, 120), (80, 128), (8, 8), (104, 104)]
    found = all_of(engine, frames(engine, *sizes), notes)
    check(found, 6, reference)
    assert max(map(prod, engine.given[-4:])) <= 60 * 60


def test_what_no_tile_helps_fails_and_the_rest_is_done(reference: Engine) -> None:
    # 8 x 8 px and halos are 56 x 56 in the middle of a frame.
    engine, notes = Small(reference, 40 * 40), list[str]()
    found = all_of(engine, frames(engine, (120, 120), (40, 40), (120, 120), (8, 8)), notes)
    failed = [(item.job.base, item.reason) for item in found if isinstance(item, Failed)]
    assert failed == [("m0", "no memory left"), ("m2", "no memory left")]
    for item in found:
        if isinstance(item, Solved):
            check_right(item, reference)
    assert len(found) == 4


def test_a_lack_that_passes_is_remembered(reference: Engine) -> None:
    """Smaller from then on: what was short once may be short again."""
    engine, notes = Small(reference, 16 * 40 * 48 - 1), list[str]()
    sizes = [(40, 48)] * 16
    source = [*frames(engine, *sizes), None, *frames(engine, *sizes)]
    for number, frame in enumerate(filter(None, source)):
        frame.job.base = f"m{number}"
    found = all_of(engine, source, notes)
    check(found, 32, reference)
    assert engine.refused == 1
    assert [count for count, *_ in engine.given] == [16, 8, 8, 8, 8]
