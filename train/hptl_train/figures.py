"""Pictures of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hptl_deploy.files import atomic_path
from hptl_train.metrics import read_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_curves(metrics: Path, picture: Path, title: str) -> None:
    """Losses of every step over its iterations, training and validation, as a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    lines = read_metrics(metrics)
    steps = list(dict.fromkeys(line["step"] for line in lines))
    figure, axes = plt.subplots(
        1, len(steps), figsize=(1 + 3.2 * len(steps), 3.4), squeeze=False, layout="constrained"
    )
    for axis, step in zip(axes[0], steps, strict=True):
        own = [line for line in lines if line["step"] == step]
        _draw_step(axis, own)
        axis.set_title(step)
        axis.set_xlabel("iteration")
    axes[0][0].set_ylabel("mean cross-entropy / nats")
    figure.suptitle(title)
    with atomic_path(picture) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    plt.close(figure)


def _draw_step(axis: Axes, lines: list[dict[str, Any]]) -> None:
    train = [(line["iteration"], line["loss"]) for line in lines if "loss" in line]
    checked = [
        (line["iteration"], line["validation"]["loss"])
        for line in lines
        # None where no pixel of the validation frames is labelled.
        if line.get("validation", {}).get("loss") is not None
    ]
    # A short step has one line of losses: a curve of one point needs its marker.
    mark = "." if len(train) < 20 else None
    axis.plot(*zip(*train, strict=True), color="0.5", linewidth=0.9, marker=mark, label="training")
    if checked:
        axis.plot(*zip(*checked, strict=True), "o-", color="C3", markersize=4, label="validation")
    axis.set_xlim(0, train[-1][0] * 1.04)
    axis.set_ylim(bottom=0)
    axis.grid(visible=True, color="0.92")
    axis.legend(frameon=False, fontsize="small")
