from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hptl_deploy.engines.storage import engine_folders, writable_engine_folder
from hptl_deploy.errors import EnvironmentLacks
from hptl_deploy.model import load_model
from support.threshold_model import write_threshold_model


def test_beside_the_model_where_that_can_be_written_to(tmp_path: Path) -> None:
    model = load_model(write_threshold_model(tmp_path / "alloy"))
    folder = writable_engine_folder(model)
    assert folder == model.path.parent / "engines"
    assert list(folder.iterdir()) == []


def test_with_the_user_where_it_cannot(tmp_path: Path, own_cache: Path) -> None:
    model = load_model(write_threshold_model(tmp_path / "alloy"))
    (model.path.parent / "engines").write_text("a file in its place")
    folder = writable_engine_folder(model)
    assert folder == own_cache / "engines" / f"{model.path.parent.name}-{model.sha256[:12]}"
    assert engine_folders(model) == (model.path.parent / "engines", folder)


def test_nowhere(tmp_path: Path, own_cache: Path) -> None:
    model = load_model(write_threshold_model(tmp_path / "alloy"))
    (model.path.parent / "engines").write_text("")
    own_cache.parent.mkdir()
    own_cache.write_text("")
    with pytest.raises(EnvironmentLacks) as caught:
        writable_engine_folder(model)
    beside, own = engine_folders(model)
    assert str(caught.value) == (
        f"model threshold: its engine can be written neither to {beside} nor {own}. Make one of "
        "them writable, or copy the model's folder to where you may write"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has XDG folders")
def test_the_users_own_folder(tmp_path: Path) -> None:
    code = "from hptl_deploy.engines.storage import cache_folder; print(cache_folder())"
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("XDG_CACHE_HOME")
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert Path(found.stdout.strip()) == tmp_path / ".cache" / "hptl-deploy"
