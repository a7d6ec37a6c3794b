from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hptl_deploy.bench import folder_frames, synthetic_frames
from hptl_deploy.errors import InputError, MicrographError
from support.drawings import rectangles, save


def test_synthetic_frames_are_different_and_the_same_at_every_call() -> None:
    frames = synthetic_frames(96, 128)
    assert frames.what == "2 synthetic micrographs of 128 x 96 px"
    assert frames.size == (96, 128)
    assert frames.pixels == 96 * 128
    first, second = frames.pictures
    assert first.dtype == np.uint8
    assert first.shape == (96, 128, 3)
    assert first.flags.writeable
    assert (first != second).any()
    for one, again in zip(frames.pictures, synthetic_frames(96, 128).pictures, strict=True):
        assert (one == again).all()


def test_a_folder_gives_its_first_micrographs_of_one_size(tmp_path: Path) -> None:
    pictures = [rectangles(48, 64, (0, 10, 0, 9 * k + 1), (20, 30, 0, 20)) for k in range(3)]
    for number, picture in enumerate(pictures):
        save(tmp_path / f"{2 * number}.png", picture)
    save(tmp_path / "1.png", rectangles(32, 64, (0, 10, 0, 10), (20, 30, 0, 20)))
    frames = folder_frames(tmp_path, count=2)
    assert frames.what == f"2 micrographs of 64 x 48 px of {tmp_path.name}"
    for one, expected in zip(frames.pictures, pictures[:2], strict=True):
        assert (one == expected[..., None]).all()


def test_a_folder_with_fewer_gives_what_it_has(tmp_path: Path) -> None:
    save(tmp_path / "a.png", rectangles(48, 64, (0, 10, 0, 10), (20, 30, 0, 20)))
    assert len(folder_frames(tmp_path).pictures) == 1


def test_a_folder_without_micrographs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no micrograph found in it"):
        folder_frames(tmp_path)


def test_a_micrograph_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.tif").write_bytes(b"II*\0")
    with pytest.raises(MicrographError) as caught:
        folder_frames(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'bad.tif'}: ")
