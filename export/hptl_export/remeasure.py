"""The memory per pixel of a published model, measured again on this machine.

    python -m hptl_export.remeasure models/mine/model.onnx

For models of before ONNX Runtime's memory was made to grow by what is asked (the figure was up to
twice as large), or from another processor. Graph, weights and all else in the card stay as they
are; the file's hash, which results name, does not. Other precisions of the model name the old
hash: export them again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import onnx

from hptl_deploy.cli.output import Output
from hptl_deploy.errors import HptlError
from hptl_deploy.model import Model, load_model
from hptl_export.drafting import with_memory
from hptl_export.effort import operations_per_pixel
from hptl_export.files import replace_card
from hptl_export.memory import bytes_per_pixel


def remeasure(path: Path) -> Model:
    """Write what the model file `path` takes here, in bytes per pixel, into its card.

    Raises ModelError, and VerificationError when the measurement fails; `path` is untouched then.
    """
    model, proto = load_model(path), onnx.load(path)
    needed = bytes_per_pixel(model, operations_per_pixel(proto, model.card.stride))
    return replace_card(path, proto, with_memory(model.card, needed))


def main() -> None:
    """Measure what the command line names; what is wrong in one sentence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    path: Path = parser.parse_args().model
    try:
        before, written = load_model(path).card, remeasure(path)
    except HptlError as exc:
        sys.exit(str(exc))
    Output(as_json=False).say(
        f"{path}: {written.card.bytes_per_pixel} bytes per pixel in blocks of "
        f"{written.card.channel_block} channels, {before.bytes_per_pixel} in blocks of "
        f"{before.channel_block} before; sha256 {written.sha256}"
    )


if __name__ == "__main__":
    main()
