"""Files of weights: damaged ones are said, and nothing in them is executed."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from support.vgg19_files import omega_t1, refusal, saved


class Touch:
    """What a pickle can do: run anything."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.mkdir, (str(self.path),)  # type: ignore[return-value]


@pytest.mark.parametrize("kind", ["new", "old", "bare"])
def test_nothing_in_a_pickle_is_executed(tmp_path: Path, kind: str) -> None:
    marker, path = tmp_path / "marker", tmp_path / "w.pth"
    content = omega_t1() | {"features.9.weight": Touch(marker)}
    if kind == "bare":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "new")
    text = refusal(path)
    assert not marker.exists()
    assert "weights_only" not in text
    if kind != "bare":
        assert text == (
            f"holds {os.mkdir.__module__}.mkdir, which only running code from the file could "
            "restore; expected names and tensors alone. Save the parameters alone: "
            "torch.save(model.state_dict(), FILE)"
        )
    with path.open("rb") as handle:  # the trap is sprung by whoever loads it without care
        torch.load(handle, weights_only=False) if kind != "bare" else pickle.load(handle)
    assert marker.exists()


def test_whole_modules_and_programs_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", torch.nn.Linear(2, 2))
    assert refusal(path).startswith("holds torch.nn.modules.linear.Linear, which only running code")
    assert refusal(saved(path, [torch.zeros(2)])) == (
        "holds a list; expected tensors by their names. Save the parameters by name: "
        "torch.save(model.state_dict(), FILE)"
    )
    endless: dict[str, Any] = {}
    endless["model"] = endless
    assert refusal(saved(path, endless)).endswith("found no tensors at all")


DAMAGED = (
    "is damaged, or no file of torch.save. Fetch it again, or save it again with "
    "torch.save(model.state_dict(), FILE)"
)


def test_damaged_and_foreign_files_are_said(tmp_path: Path) -> None:
    good = saved(tmp_path / "good.pth", omega_t1()).read_bytes()
    tensors = saved(tmp_path / "good.safetensors", omega_t1()).read_bytes()
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    onnx = b"\x08\x08\x12\x07pytorch" + bytes(100)
    zipped = (tmp_path / "zip").read_bytes()
    for content in (good[: len(good) // 2], good[:10], tensors, zipped, onnx, b"just text\n" * 9):
        path.write_bytes(content)
        assert refusal(path) == DAMAGED
    path = tmp_path / "w.safetensors"
    absurd = (1 << 60).to_bytes(8, "little") + b"{}"
    for content in (tensors[: len(tensors) // 2], tensors[:20], absurd, good, onnx, b"just text"):
        path.write_bytes(content)
        assert refusal(path).startswith("is damaged or no safetensors file (")
        assert refusal(path).endswith("). Fetch or export it again")


def test_what_is_no_file_of_weights_is_said(tmp_path: Path) -> None:
    expected = "expected a file of weights (.safetensors, .pth, .pt)"
    assert refusal(tmp_path / "none.pth") == f"there is no such file; {expected}"
    folder = tmp_path / "folder.pth"
    folder.mkdir()
    assert refusal(folder) == f"is a folder; {expected}"
    (tmp_path / "empty.pth").touch()
    assert refusal(tmp_path / "empty.pth") == f"is empty; {expected}"
    (tmp_path / "vgg19.onnx").write_bytes(b"\x08\x08")
    assert refusal(tmp_path / "vgg19.onnx") == f"ends in .onnx; {expected}"
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.pth")
        assert refusal(tmp_path / "pipe.pth") == f"is a device or a pipe; {expected}"


def test_tensors_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    good = omega_t1()
    integers = good | {"features.2.weight": torch.ones(16, 16, 3, 3, dtype=torch.int8)}
    assert refusal(saved(path, integers)) == (
        "conv1_2.weight is of int8; expected float32, float16, bfloat16 or float64"
    )
    broken = good["features.5.bias"].clone()
    broken[3] = torch.nan
    large = torch.full((24,), 1e300, dtype=torch.float64)
    for bias in (broken, large):
        assert refusal(saved(path, good | {"features.5.bias": bias})) == (
            "conv2_1.bias holds numbers that are not finite in float32"
        )
    for odd in (
        torch.zeros(1).expand(24),
        torch.zeros(24).to_sparse(),
        torch.zeros(24, device="meta"),
    ):
        assert refusal(saved(path, good | {"features.5.bias": odd})).startswith(
            "lacks conv2_1.bias;"
        )
