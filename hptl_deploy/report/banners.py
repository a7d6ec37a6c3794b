"""What a reader must know before the figures: at the top of the page."""

from __future__ import annotations

from dataclasses import dataclass

from hptl_deploy.report.reading import Results
from hptl_deploy.results import is_number, table


@dataclass(frozen=True)
class Banner:
    """A warning."""

    kind: str
    """`loud` or `plain`."""
    head: str
    text: str


def banners(results: Results) -> list[Banner]:
    """The warnings of a results folder, loudest first."""
    found = [
        _synthetic(results), _state(results), _failures(results), _empty(results),
        _unknown(results), _flagged(results),
    ]  # fmt: skip
    return [one for one in found if one is not None]


def _synthetic(results: Results) -> Banner | None:
    if table(results.table("model"), "card").get("synthetic") is not True:
        return None
    return Banner(
        "loud",
        "The model learned from synthetic micrographs alone.",
        "It has never seen a real one. On real micrographs these figures are a demonstration, not "
        "a measurement: look at the overlays, and train a model on labelled micrographs of your "
        "own alloy before you rely on it.",
    )


def _state(results: Results) -> Banner | None:
    state, remaining = results.run.get("state"), results.table("counts").get("remaining")
    if state == "finished":
        return None
    if state == "interrupted":
        return Banner(
            "plain",
            "The run was interrupted.",
            f"{remaining} micrographs are not done; the same command goes on from here.",
        )
    return Banner("plain", "The run is not over.", "This is what was done so far.")


def _failures(results: Results) -> Banner | None:
    count = len(results.failures)
    if not count:
        return None
    what = "1 micrograph is" if count == 1 else f"{count} micrographs are"
    return Banner("plain", f"{what} missing from all figures", "because of an error; see below.")


def _empty(results: Results) -> Banner | None:
    if results.rows:
        return None
    return Banner("loud", "There are no fields.", "Nothing was segmented, so nothing was measured.")


def _unknown(results: Results) -> Banner | None:
    count = sum(not is_number(row["pixel_size_um"]) for row in results.rows)
    if not count:
        return None
    which = (
        "every field" if count == len(results.rows) else f"{count} of {len(results.rows)} fields"
    )
    return Banner(
        "plain",
        f"The pixel size of {which} is unknown,",
        "so there are no lengths and no numbers per area for them. Area fractions hold. State it "
        "with --pixel-size, in µm per pixel.",
    )


def _flagged(results: Results) -> Banner | None:
    count = sum(bool(row.get("flags")) for row in results.rows)
    if not count:
        return None
    are, they = ("is", "it is") if count == 1 else ("are", "they are")
    return Banner(
        "plain",
        f"{count} of {len(results.rows)} fields {are} flagged",
        f"as doubtful, in focus, lighting, scale or likeness to the training data; {they} in all "
        "figures. See below.",
    )
