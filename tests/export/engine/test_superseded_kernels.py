"""The kernels that a card compiled for an engine go with it, beside it and with the user."""

from __future__ import annotations

import json
from pathlib import Path

from hptl_deploy.engines.flavour import Flavour
from hptl_deploy.engines.memory.base import DeviceProperties
from hptl_deploy.engines.record import record_path
from hptl_deploy.engines.runtime_cache import cache_paths
from hptl_export.engine import ensure_engine
from support.engine_models import NO_CARD, small_model

CARD = DeviceProperties("a card", "8.9", 1, 1, "580")


def test_the_kernels_of_a_superseded_engine_go_with_it(tmp_path: Path, rtx: Flavour) -> None:
    model = small_model(tmp_path)
    engine = ensure_engine(model, rtx, machine=NO_CARD, frame=(64, 96))
    older, elsewhere = (
        engine.with_name(f"fp32-tensorrt-rtx-{key}.engine")
        for key in ("0123456789ab", "ba9876543210")
    )
    document = json.loads(record_path(engine).read_text(encoding="utf-8"))
    for copy, changed in ((older, {"onnx_sha256": "0" * 64}), (elsewhere, {"gpu": ["7.5"]})):
        copy.write_bytes(engine.read_bytes())
        record_path(copy).write_text(json.dumps({**document, **changed}), encoding="utf-8")
    for path in (*cache_paths(older, CARD), *cache_paths(elsewhere, CARD)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"kernels")
    engine.unlink()
    assert ensure_engine(model, rtx, machine=NO_CARD, frame=(64, 96)) == engine
    assert not older.exists()
    assert not any(path.exists() for path in cache_paths(older, CARD))
    assert elsewhere.exists()  # another machine's
    assert all(path.exists() for path in cache_paths(elsewhere, CARD))
