"""Where a model's weights come from: the steps of its chain."""

from __future__ import annotations

from dataclasses import dataclass

from hptl_deploy.card_fields import Fields


@dataclass(frozen=True)
class LineageStep:
    """One step of the chain that made the weights."""

    step: str
    network: str
    start: str
    """`random`, or the step whose parameters came along."""
    transferred: int
    """Parameters (numbers, not tensors) copied from the step before."""
    iterations: int
    data: str
    """Name and SHA-256 of what it learned from."""
    losses: dict[str, float]
    """Final mean cross-entropy per labelled pixel (per picture in step 1), nats."""
    seconds: float | None = None
    """Training time."""

    @classmethod
    def from_fields(cls, step: Fields) -> LineageStep:
        """Read a step of a card. Raises KeyError or ValueError."""
        return cls(
            step=step.text("step"),
            network=step.text("network"),
            start=step.text("start"),
            transferred=step.whole("transferred"),
            iterations=step.whole("iterations"),
            data=step.text("data"),
            losses=step.numbers("losses"),
            seconds=step.number("seconds") if step.has("seconds") else None,
        )
