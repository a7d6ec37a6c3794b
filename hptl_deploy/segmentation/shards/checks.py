"""What keeps shards from being merged: one list of everything, each with what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hptl_deploy.results import SHARDS_FOLDER
from hptl_deploy.segmentation.command_line import command
from hptl_deploy.segmentation.inputs.naming import result_bases
from hptl_deploy.segmentation.ledger import Entry, Ledger, is_being_written
from hptl_deploy.segmentation.shards.parts import Document, Part
from hptl_deploy.segmentation.shards.sharding import Shard, shown
from hptl_deploy.statistics.table_options import TableOptions

_TOLD = 12
"""Unfinished shards that are told one by one, each with its command."""


def problems(
    out: Path, parts: Sequence[Part], entries: Mapping[str, Entry], ledger: Ledger
) -> list[str]:
    """Everything that is wrong with the shards of `out`; `parts` holds at least one."""
    counts = {part.shard.count for part in parts}
    missing = _missing(out, parts) if len(counts) == 1 else {}
    found = _counts(out, parts) if len(counts) > 1 else []
    found += _in_short(missing | _states(out, parts))
    found += _differences(parts)
    if not found:  # names and results are those of one run only now
        found += _results(out, parts, entries, ledger)
    return found


def _counts(out: Path, parts: Sequence[Part]) -> list[str]:
    by_count: dict[int, list[str]] = {}
    for part in parts:
        by_count.setdefault(part.shard.count, []).append(str(part.shard))
    sets = "; ".join(f"{count} shards: {shown(names)}" for count, names in by_count.items())
    return [
        f"shards of several counts lie side by side ({sets}): finish one of them and delete the "
        f"folders of the others in {out / SHARDS_FOLDER}"
    ]


def _missing(out: Path, parts: Sequence[Part]) -> dict[Shard, str]:
    count = parts[0].shard.count
    there = {part.shard.number for part in parts}
    missing = (Shard(n, count) for n in range(1, count + 1) if n not in there)
    return {
        shard: f"shard {shard}: has not been run: {command(parts[0].document, shard, out)}"
        for shard in missing
    }


def _states(out: Path, parts: Sequence[Part]) -> dict[Shard, str]:
    found = {}
    for part in parts:
        again = command(part.document, part.shard, out)
        if is_being_written(part.shard.home(out)):
            found[part.shard] = f"shard {part.shard}: is being run: wait until it ends"
        elif part.document["state"] == "interrupted":
            left = part.document["counts"]["remaining"]
            found[part.shard] = (
                f"shard {part.shard}: was interrupted with {left} inputs left: {again}"
            )
        elif not part.finished:
            found[part.shard] = (
                f"shard {part.shard}: has not come to its end; if no machine is at it any more, "
                f"run it again: {again}"
            )
    return found


def _in_short(unfinished: Mapping[Shard, str]) -> list[str]:
    """A cluster's time limit may have ended hundreds: the rest as numbers for an array job."""
    rest = sorted(shard.number for shard in list(unfinished)[_TOLD:])
    more = [f"{len(rest)} more shards are missing or have not come to their end: {_ranges(rest)}"]
    return [*list(unfinished.values())[:_TOLD], *(more if rest else [])]


def _ranges(numbers: Sequence[int]) -> str:
    """`1-3,7` of 1, 2, 3, 7, as `sbatch --array` takes it; `numbers` ascend."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ",".join("-".join(map(str, run)) for run in runs)


def _model(document: Document) -> str:
    model = document["model"]
    return f"{model['name']} ({model['sha256'][:12]})"


def _tables(document: Document) -> str:
    wished = TableOptions.from_json(document.get("tables", {}))
    mark = "comma" if wished.decimal_comma else "point"
    return f"decimal {mark}, needles from aspect ratio {wished.needle_aspect:g}"


_AGREE: tuple[tuple[str, Callable[[Document], object], Callable[[Document], str]], ...] = (
    ("model", lambda d: d["model"]["sha256"], _model),
    (
        "precision of the model",
        lambda d: d["model"]["precision"],
        lambda d: str(d["model"]["precision"]),
    ),
    (
        "precision of the engine",
        lambda d: d["engine"]["precision"],
        lambda d: str(d["engine"]["precision"]),
    ),
    ("split", lambda d: d["split"], lambda d: str(d["split"] or "all")),
    (
        "version of hptl-deploy",
        lambda d: d["versions"]["hptl_deploy"],
        lambda d: str(d["versions"]["hptl_deploy"]),
    ),
    ("tables", lambda d: TableOptions.from_json(d["tables"]), _tables),
)
"""What must be the same in all shards: what it is, its value, and the value for people."""


def _differences(parts: Sequence[Part]) -> list[str]:
    found = [_difference(what, parts, value, words) for what, value, words in _AGREE]
    found.append(_difference("settings", parts, lambda d: d["settings_sha256"], _settings(parts)))
    found += _inputs(parts)
    return [problem for problem in found if problem]


def _difference(
    what: str,
    parts: Sequence[Part],
    value: Callable[[Document], object],
    words: Callable[[Document], str],
) -> str:
    """Who has what; empty where all have the same."""
    groups: dict[object, list[Part]] = {}
    for part in parts:
        groups.setdefault(value(part.document), []).append(part)
    if len(groups) == 1:
        return ""
    told = (
        f"{words(members[0].document)} in {shown(str(member.shard) for member in members)}"
        for members in groups.values()
    )
    return f"{what}: {'; '.join(told)}"


def _settings(parts: Sequence[Part]) -> Callable[[Document], str]:
    """The settings in which documents differ, for people."""
    hashed = [name for name in parts[0].document["settings"] if name != "tile"]
    differing = [
        name
        for name in hashed
        if len({repr(part.document["settings"].get(name)) for part in parts}) > 1
    ]

    def words(document: Document) -> str:
        told = [f"{name} {document['settings'].get(name)}" for name in differing]
        return ", ".join(told) or str(document["settings_sha256"])[:12]

    return words


def _inputs(parts: Sequence[Part]) -> list[str]:
    """Machines may see one folder under different names; it is one where its listing is."""
    first = parts[0]
    odd = [part for part in parts if not _same_input(first, part)]
    if not odd:
        return []
    names = {part.document["input"]: str(part.shard) for part in reversed([first, *odd])}
    told = "; ".join(f"{name} in {shard}" for name, shard in reversed(names.items()))
    return [f"input: {told}"]


def _same_input(one: Part, other: Part) -> bool:
    if one.document["input"] == other.document["input"]:
        return True
    if one.about["listing_sha256"] == other.about["listing_sha256"]:
        return True
    try:
        return Path(one.document["input"]).samefile(other.document["input"])
    except OSError:
        return False


def _results(
    out: Path, parts: Sequence[Part], entries: Mapping[str, Entry], ledger: Ledger
) -> list[str]:
    """Inputs whose results are not what the tables would say."""
    bases = result_bases(name for part in parts for name in part.about["names"])
    found = []
    for part in parts:
        lacking, renamed = [], []
        for file in part.done():
            entry = entries.get(file)
            if entry is None or not _made_by(entry, part) or not ledger.is_in_place(entry):
                lacking.append(file)
            elif entry.base != bases[file]:
                renamed.append(f"{file} as {entry.base}, not {bases[file]}")
        again = command(part.document, part.shard, out)
        if lacking:
            found.append(
                f"shard {part.shard}: results of {shown(lacking)} are not in {out}: {again}"
            )
        if renamed:
            found.append(
                f"shard {part.shard}: the input has changed, and with it what results are called "
                f"({shown(renamed)}): {again}"
            )
    return found


def _made_by(entry: Entry, part: Part) -> bool:
    document = part.document
    return (
        entry.failure is None
        and entry.model_sha256 == document["model"]["sha256"]
        and entry.settings_sha256 == document["settings_sha256"]
    )
