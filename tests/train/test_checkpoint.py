"""Checkpoints: exact, and damaged ones are said."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from hptl_deploy.errors import RunError
from hptl_train.checkpoint import (
    Progress,
    clear_leftovers,
    load_checkpoint,
    load_weights,
    remove_checkpoint,
    restore_weights,
    save_best,
    save_checkpoint,
    save_weights,
)


def a_few_steps(module: nn.Module, optimiser: torch.optim.Optimizer, count: int) -> None:
    for number in range(count):
        torch.manual_seed(number)
        optimiser.zero_grad()
        module(torch.rand(4, 3)).square().sum().backward()
        optimiser.step()


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_training_goes_on_exactly(tmp_path: Path, kind: str) -> None:
    def fresh() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(1)
        module = nn.Linear(3, 2)
        if kind == "adam":
            return module, torch.optim.Adam(module.parameters(), lr=0.1)
        return module, torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)

    module, optimiser = fresh()
    a_few_steps(module, optimiser, 3)
    progress = Progress(3, (0.5, 1 / 3), 77, 1.25)
    save_checkpoint(tmp_path, progress, module, optimiser)
    a_few_steps(module, optimiser, 3)
    other, other_optimiser = fresh()
    assert load_checkpoint(tmp_path, other, other_optimiser) == progress
    a_few_steps(other, other_optimiser, 3)
    for one, two in zip(module.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
    # What was loaded does not hold the old files: the next checkpoint can remove them.
    save_checkpoint(tmp_path, Progress(6, (), 99, 2.0), other, other_optimiser)
    assert len(list(tmp_path.glob("checkpoint-0000006*"))) == 2
    assert not list(tmp_path.glob("checkpoint-0000003*"))
    if sys.platform == "linux":
        assert str(tmp_path) not in Path("/proc/self/maps").read_text()


def test_only_the_newest_checkpoint_stays(tmp_path: Path) -> None:
    module = nn.Linear(3, 2)
    optimiser = torch.optim.Adam(module.parameters())
    for iteration in (1, 2):
        a_few_steps(module, optimiser, 1)
        save_checkpoint(tmp_path, Progress(iteration, (), 0, 0.0), module, optimiser)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint-0000002.optimiser.safetensors",
        "checkpoint-0000002.safetensors",
        "checkpoint.json",
    ]


def test_best_weights_stay_until_a_checkpoint_names_others(tmp_path: Path) -> None:
    module = nn.Linear(3, 2)
    optimiser = torch.optim.Adam(module.parameters())

    def there() -> list[str]:
        return sorted(path.name for path in tmp_path.glob("best*"))

    save_best(tmp_path, "best-0000002.safetensors", module, None)
    progress = Progress(3, (), 0, 0.0, (2, 0.5), "best-0000002.safetensors")
    save_checkpoint(tmp_path, progress, module, optimiser)
    for better in ("best-0000004.safetensors", "best-0000006.safetensors"):
        save_best(tmp_path, better, module, progress.best_weights)
        assert there() == ["best-0000002.safetensors", better]
        assert load_checkpoint(tmp_path, module, optimiser) == progress
    progress = Progress(7, (), 0, 0.0, (6, 0.6), "best-0000006.safetensors")
    save_checkpoint(tmp_path, progress, module, optimiser)
    assert there() == ["best-0000006.safetensors"]
    assert load_checkpoint(tmp_path, module, optimiser) == progress
    remove_checkpoint(tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_a_checkpoint_there_is_none(tmp_path: Path) -> None:
    module = nn.Linear(3, 2)
    assert load_checkpoint(tmp_path, module, torch.optim.Adam(module.parameters())) is None


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    module = nn.Linear(3, 2)
    save_weights(tmp_path / "weights.safetensors", module)
    for name in (".tmpAbc12", ".0123456789abcdef-77.hptl-part"):
        (tmp_path / name).write_bytes(b"half")
    clear_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on file sizes")
def test_a_disk_that_takes_no_more_is_said(tmp_path: Path) -> None:
    import resource

    path = tmp_path / "weights.safetensors"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(RunError) as raised:
            save_weights(path, nn.Linear(100, 100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(raised.value).startswith(f"{path}: cannot be written (")
    assert "Make room on the disk, then go on with: hptl-deploy train --resume" in str(raised.value)
    assert not path.exists()


def test_damaged_files_are_said(tmp_path: Path) -> None:
    module = nn.Linear(3, 2)
    optimiser = torch.optim.Adam(module.parameters())
    path = tmp_path / "weights.safetensors"
    save_weights(path, module)
    with pytest.raises(RunError, match="its weights are of another network than the recipe's"):
        restore_weights(nn.Linear(3, 4), load_weights(path), path)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(RunError, match=r"weights.safetensors: the weights cannot be read"):
        load_weights(path)
    (tmp_path / "checkpoint.json").write_text('{"iteration": 3}')
    with pytest.raises(RunError, match="is not a checkpoint of this program"):
        load_checkpoint(tmp_path, module, optimiser)
