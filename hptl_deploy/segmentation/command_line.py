"""The line that runs `segment` as a run.json says."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hptl_deploy.left_out.given import option_words
from hptl_deploy.statistics.table_options import NEEDLE_ASPECT, TableOptions

if TYPE_CHECKING:
    from hptl_deploy.segmentation.shards.sharding import Shard


def command(document: dict[str, Any], shard: Shard | None, out: Path) -> str:
    """The line that runs `shard`, or all, with the model and the settings of a run.json."""
    settings, model = document["settings"], document["model"]
    words = ["hptl-deploy", "segment", document["input"]]
    words += [] if shard is None else ["--shard", str(shard)]
    words += ["--out", str(out), "--model", model["path"]]
    words += ["--precision", document["engine"]["precision"]]
    if settings["pixel_size_um"] is not None:
        words += ["--pixel-size", str(settings["pixel_size_um"])]
    if settings["overlay"] != "jpg":
        words += ["--overlay", settings["overlay"]]
    words += ["--confidence"] * bool(settings["confidence"])
    # Results of earlier versions lack these.
    words += ["--no-particles"] * (not settings.get("particles", True))
    words += ["--also", ",".join(settings["also"])] if settings.get("also") else []
    words += ["--rescale", settings["rescale"]] if settings.get("rescale", "auto") != "auto" else []
    words += option_words(settings, document.get("ignore_mask"))
    wished = TableOptions.from_json(document.get("tables", {}))
    words += ["--decimal-comma"] * wished.decimal_comma
    if wished.needle_aspect != NEEDLE_ASPECT:
        words += ["--needle-aspect", str(wished.needle_aspect)]
    # Shards may have been cut differently; their settings in common have no tile then.
    for option, value in (("--split", document["split"]), ("--tile", settings.get("tile"))):
        words += [] if value is None else [option, str(value)]
    return shlex.join(words)
