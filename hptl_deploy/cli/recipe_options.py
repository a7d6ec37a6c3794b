"""What `train` and `compare` ask of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SourceOption = Annotated[
    str | None,
    typer.Option(
        metavar="DIR|photographs|none",
        help="Step 1's source domain: a class-per-folder tree, scikit-image's photographs, "
        "or none (step 2 then starts from random).",
    ),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Published VGG-19 weights in the place of step 1: .safetensors, .pth; whole, or "
        "the first two blocks.",
    ),
]
WidthOption = Annotated[
    float | None, typer.Option(help="Scale all channels of the networks, e.g. 0.25.")
]
BatchOption = Annotated[
    int | None, typer.Option(min=1, help="Pictures per iteration, in every step.")
]
ChannelsOption = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,C,D,E", help="The trunk's five widths; published weights want 64,128,..."
    ),
]
FcOption = Annotated[int | None, typer.Option(min=1, help="Channels of fc6 and fc7.")]
PrecisionOption = Annotated[
    str | None,
    typer.Option(
        metavar="auto|fp32|bf16|fp16",
        help="Of the forward and backward pass; auto is the card's fastest.",
    ),
]
InputScaleOption = Annotated[
    int | None,
    typer.Option(min=1, max=4, help="Enlarge the input, for particles of a few pixels."),
]
BudgetOption = Annotated[
    float | None, typer.Option(help="Scale every step's iterations alike, e.g. 0.05.")
]
IterationsOption = Annotated[int | None, typer.Option(min=1, help="Iterations of every step.")]
SourceIterationsOption = Annotated[
    int | None, typer.Option(min=1, help="Iterations of step 1, whatever the others have.")
]
OneCycleOption = Annotated[
    float | None,
    typer.Option(
        metavar="RATE",
        help="Learning rate of the target steps: rises to RATE, falls to nothing; for few "
        "iterations, e.g. 0.001.",
    ),
]
