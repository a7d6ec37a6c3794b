"""Results folders as `segment` leaves them, of fields that nobody has segmented."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hptl_deploy.phases import PAPER_PHASES
from hptl_deploy.segmentation.ledger import Entry

MODEL_SHA256 = "0123456789abcdef" * 4
CARD: dict[str, Any] = {
    "network": "fcn8s",
    "input_scale": 2,
    "pixel_size_um": 0.2,
    "synthetic": False,
    "lineage": [
        {"step": "vgg19", "data": f"photographs {'ab' * 32}", "iterations": 10},
        {"step": "fcn8s", "data": f"my alloy {'cd' * 32}", "iterations": 20},
    ],
    "validation": {
        "accuracy": 0.9876,
        "pixels": 12_300_000,
        "phases": [
            {"key": "al", "iou": 0.991, "area_fraction_true": 0.95,
             "area_fraction_predicted": 0.951, "area_fraction_error": 0.001},
            {"key": "mg2si", "iou": 0.812, "area_fraction_true": 0.02,
             "area_fraction_predicted": 0.019, "area_fraction_error": -0.001,
             "mean_absolute_area_error": 0.0017},
            {"key": "fe", "iou": 0.703, "area_fraction_true": 0.03,
             "area_fraction_predicted": 0.03, "area_fraction_error": 0.0},
        ],
    },
    "training": {"command": "hptl-deploy train my-alloy", "seed": 0},
    "licence": {"weights": "ours", "data": "ours"},
}  # fmt: skip


def made_up_row(file: str, mg2si: float = 0.01, fe: float = 0.02, **others: Any) -> dict[str, Any]:
    """A row of fields.csv as the ledger keeps it."""
    base = file.rsplit(".", 1)[0]
    return {
        "file": file,
        "page": 1,
        "width_px": 800,
        "height_px": 600,
        "pixel_size_um": 0.25,
        "pixel_size_source": "TIFF tags",
        "al_area_fraction": 1 - mg2si - fe,
        "mg2si_area_fraction": mg2si,
        "fe_area_fraction": fe,
        "mean_confidence": 0.99,
        "classes_file": f"{base}_classes.tif",
        "model": "made-up",
        "model_sha256": MODEL_SHA256,
        "precision": "fp32",
        "hptl_deploy_version": "0.1.0",
        **others,
    }


def write_made_up(
    folder: Path,
    rows: Sequence[dict[str, Any]],
    outputs: Sequence[str] = (),
    failures: Sequence[tuple[str, str, str]] = (),
    card: dict[str, Any] | None = CARD,
    **run: Any,
) -> Path:
    """Write run.json, ledger.jsonl and failures.csv; `run` replaces entries of run.json."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = [
        Entry(
            row["file"], 1, "00", MODEL_SHA256, "11", row["file"], dict.fromkeys(outputs, 1), [row]
        )
        for row in rows
    ]
    lines = [json.dumps({"schema": 1, **asdict(entry)}) + "\n" for entry in entries]
    (folder / "ledger.jsonl").write_text("".join(lines), encoding="utf-8")
    document = {
        "tool": "hptl-deploy segment",
        "schema": 1,
        "state": "finished",
        "started": "2026-11-30T07:47:50+00:00",
        "ended": "2026-11-30T07:52:13+00:00",
        "input": "/data/alloy 7",
        "split": None,
        "counts": {"done": len(rows), "skipped": 0, "failed": len(failures), "remaining": 0},
        "model": {"name": "made-up", "path": "/models/made-up/model.onnx", "sha256": MODEL_SHA256,
                  "precision": "fp32"} | ({"card": card} if card else {}),
        "phases": [phase.to_json() for phase in PAPER_PHASES],
        "settings": {"pixel_size_um": None, "overlay": "jpg", "confidence": False, "tile": None},
        "settings_sha256": "11",
        "tables": {"decimal_comma": False, "needle_aspect": 3.0},
        "engine": {"backend": "onnxruntime-cpu", "device": "cpu", "precision": "fp32"},
        "versions": {"hptl_deploy": "0.1.0"},
        "throughput": {"seconds": 263.0, "megapixels": 7.68},
        "results": [{name: row[name] for name in ("file", "page", "classes_file")} for row in rows],
        **run,
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(document), encoding="utf-8")
    table = "".join(f'"{file}",{stage},"{reason}"\n' for file, stage, reason in failures)
    (folder / "failures.csv").write_text("file,stage,reason\n" + table, encoding="utf-8")
    return folder
