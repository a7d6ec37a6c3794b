"""What cannot be trained is one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli_w

from hptl_train.recipe import Wishes
from support.chains import train
from support.tiny import recipe


def test_what_cannot_be_trained_is_one_sentence(tmp_path: Path, data: Path) -> None:
    nothing = train(tmp_path, tmp_path / "nowhere")
    assert nothing.returncode == 2
    assert nothing.stderr == f"hptl-deploy: data set {tmp_path / 'nowhere'}: is not a folder\n"
    resumed = train(tmp_path, "--resume")
    assert resumed.returncode == 2
    assert f"found no unfinished run to resume in {tmp_path}" in resumed.stderr
    typo = train(tmp_path, data, "--source-data", tmp_path / "nosuch")
    assert typo.returncode == 2
    assert typo.stderr == f"hptl-deploy: source domain {tmp_path / 'nosuch'}: is not a folder\n"
    assert not list(tmp_path.iterdir())  # nothing that a later --resume could stumble over
    card = train(tmp_path, data, "--device", "cuda:99")
    assert card.returncode == 3
    assert "--device cuda:99: torch" in card.stderr


@pytest.mark.parametrize(("table", "key"), [("network", "fc"), ("crops", "size")])
def test_a_lack_of_memory_is_one_sentence(tmp_path: Path, data: Path, table: str, key: str) -> None:
    """Where the network is built, and where its memory is tried: more than can be addressed."""
    document = recipe().model_dump(mode="json", exclude_none=True)
    document[table][key] = 1 << (40 if key == "fc" else 28)
    path = tmp_path / "huge.toml"
    path.write_text(tomli_w.dumps(document))
    done = train(tmp_path / "runs", data, "--recipe", path, "--source-data", "none")
    assert done.returncode == 3, done.stderr
    assert done.stderr.endswith(
        "step fcn32s: the device has too little memory for batches of 2. Start a new run with a "
        "smaller --batch or --width\n"
    )


def test_a_loss_that_explodes_is_said(tmp_path: Path, data: Path) -> None:
    chain = (
        Wishes(source_data="none")
        .chain(recipe(iterations=20))
        .model_dump(mode="json", exclude_none=True)
    )
    chain["steps"][0]["optimiser"]["learning_rate"] = 1e12
    path = tmp_path / "hot.toml"
    path.write_text(tomli_w.dumps(chain))
    done = train(tmp_path, data, "--recipe", path)
    assert done.returncode == 2
    assert "step fcn32s: the loss is no number any more after iteration" in done.stderr
    assert "no source domain: step fcn32s starts from random weights" in done.stderr
