"""A run of training that is over, of a network too small to say anything."""

from __future__ import annotations

from pathlib import Path

from hptl_deploy.cli.output import Output
from hptl_deploy.datasets import load_data_set
from hptl_train.chain import Chain
from hptl_train.devices import open_team
from hptl_train.recipe import Wishes
from hptl_train.run_folder import RunFolder
from support.labelled import write_data_set
from support.tiny import recipe


def finished_run(data: Path, runs: Path) -> RunFolder:
    """Two iterations a step, without a source domain, on drawn micrographs; `runs/drawn`."""
    root = write_data_set(data / "drawn")
    (root / "dataset.toml").write_text("synthetic = true\n", encoding="utf-8")
    data_set = load_data_set(root)
    folder = RunFolder(runs / "drawn")
    chained = Wishes(source_data="none", input_scale=4, seed=5).chain(recipe(iterations=2))
    chain = Chain(
        chained,
        data_set,
        sources={},
        pretrained={},
        run=folder,
        team=open_team("cpu", chained.compute),
        sink=Output(as_json=True),
    )
    chain.start()
    chain.train()
    return folder
