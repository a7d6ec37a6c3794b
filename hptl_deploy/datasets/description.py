"""dataset.toml: what its keys mean, and what is assumed where they are left out."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

from hptl_deploy.datasets.labels import LabelCode
from hptl_deploy.errors import DataSetError, InputError
from hptl_deploy.phases import (
    IGNORE,
    MAX_PHASES,
    PAPER_PHASES,
    Phase,
    key_from_name,
    parse_colour,
)
from hptl_deploy.wording import is_obeyed, one_line

DATA_SET_FILE = "dataset.toml"

_KEYS = {
    "name",
    "images",
    "labels",
    "pixel_size_um",
    "synthetic",
    "origin",
    "ignore",
    "ignore_colour",
    "licence",
    "phases",
    "split",
}


_PAPER = ", ".join(f"{index} {phase.name}" for index, phase in enumerate(PAPER_PHASES))


def is_data_set(root: Path) -> bool:
    """True where `load_data_set` would look further: a description, or images/ and labels/."""
    return (root / DATA_SET_FILE).is_file() or (
        (root / "images").is_dir() and (root / "labels").is_dir()
    )


def labels_folder(root: Path) -> Path:
    """Where a data set's labels lie, `labels` where it does not say."""
    try:
        named = tomllib.loads((root / DATA_SET_FILE).read_text(encoding="utf-8-sig")).get("labels")
    except (OSError, ValueError):  # no description, or none that can be read
        named = None
    return root / (named if isinstance(named, str) else "labels")


def read_description(root: Path, problems: list[str], notes: list[str]) -> dict[str, Any]:
    """The table of `root`'s dataset.toml, empty where there is none.

    Unknown keys are added to `problems`, what is assumed to `notes`. Raises DataSetError
    when the file is not TOML, and where neither it nor the folders are there.
    """
    path = root / DATA_SET_FILE
    if not path.is_file():
        if not ((root / "images").is_dir() and (root / "labels").is_dir()):
            raise DataSetError(
                f"data set {root}: found neither {DATA_SET_FILE} nor the folders images and labels",
                hint="Name the folder that holds them",
            )
        notes.append(
            f"{root} has no {DATA_SET_FILE}: assuming the paper's phases ({_PAPER}) "
            "and a seeded 80/10/10 split"
        )
        return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise DataSetError(f"{path}: is not readable TOML ({exc})") from exc
    if unknown := sorted(table.keys() - _KEYS):
        problems.append(
            f"{DATA_SET_FILE}: unknown keys {', '.join(unknown)}; "
            f"expected {', '.join(sorted(_KEYS))}"
        )
    if "phases" not in table:
        notes.append(f"{path} lists no [[phases]]: assuming the paper's ({_PAPER})")
    if "split" not in table:
        notes.append(f"{path} has no [split]: assuming a seeded 80/10/10 split")
    return table


def label_code(table: dict[str, Any], problems: list[str]) -> LabelCode:
    """The phases and how labels say them, by `[[phases]]`, `ignore` and `ignore_colour`.

    What is wrong is added to `problems`; raises DataSetError where there is no list of phases.
    """
    entries = table.get("phases")
    if entries is None:
        phases, values = PAPER_PHASES, tuple(range(len(PAPER_PHASES)))
    elif (
        isinstance(entries, list)
        and 2 <= len(entries) <= MAX_PHASES
        and all(isinstance(entry, dict) for entry in entries)
    ):
        keys = _keys(entries)
        found = [_phase(place, entry, keys[place], problems) for place, entry in enumerate(entries)]
        phases, values = tuple(phase for phase, _ in found), tuple(value for _, value in found)
    else:
        raise DataSetError(f"{DATA_SET_FILE}: expected 2 to {MAX_PHASES} [[phases]]")
    ignore = table.get("ignore", IGNORE)
    if type(ignore) is not int or not 0 <= ignore <= 65535:
        problems.append(f"ignore must be an integer 0 to 65535, found {ignore!r}")
        ignore = IGNORE
    ignore_colour = None
    try:
        if "ignore_colour" in table:
            ignore_colour = parse_colour(table["ignore_colour"], "ignore_colour")
    except InputError as exc:
        problems.append(exc.message)
    code = LabelCode(phases, values, ignore, ignore_colour)
    problems += _clashes(code)
    return code


def phases_toml(phases: Sequence[Phase]) -> str:
    """The `[[phases]]` of a dataset.toml whose labels hold class indices."""
    # JSON's strings are TOML's, where no control character is in them.
    return "\n".join(
        f"[[phases]]\nkey = {json.dumps(phase.key)}\n"
        f"name = {json.dumps(phase.name, ensure_ascii=False)}\n"
        f"value = {value}\ncolour = {list(phase.colour)}\n"
        for value, phase in enumerate(phases)
    )


def _keys(entries: list[dict[str, Any]]) -> list[str]:
    """The key of each of the `[[phases]]`: the stated one, or one made of the name.

    Where nothing of a name can be spelt in a key, it is `phase_` and the class index; where two
    names are spelt alike, the later one gets a number. Empty where there is no name.
    """
    known_keys = {phase.name: phase.key for phase in PAPER_PHASES}
    taken = {str(entry["key"]) for entry in entries if "key" in entry}
    made = {"": ""}
    keys = []
    for place, entry in enumerate(entries):
        name = str(entry.get("name", "")).strip()
        if "key" in entry:
            keys.append(str(entry["key"]))
            continue
        # Equal names get equal keys: nothing would tell such phases apart, and it is reported.
        if name not in made:
            first = known_keys.get(name) or key_from_name(name) or f"phase_{place}"
            further = (f"{first}_{number}" for number in count(2))
            made[name] = next(key for key in chain([first], further) if key not in taken)
            taken.add(made[name])
        keys.append(made[name])
    return keys


def _phase(place: int, entry: dict[str, Any], key: str, problems: list[str]) -> tuple[Phase, int]:
    """One of the `[[phases]]` and its value in index masks."""
    name = str(entry.get("name", ""))
    where = f"[[phases]] {place + 1} {one_line(name)}".rstrip()
    if not key or key_from_name(key) != key:
        problems.append(f"{where}: expected a name (and a key of a-z, 0-9, _), found {key!r}")
    if any(map(is_obeyed, name)):
        problems.append(f"{where}: its name holds a line break or control character")
    value = entry.get("value", place)
    if type(value) is not int or not 0 <= value <= 65535:
        problems.append(f"{where}: value must be an integer 0 to 65535, found {value!r}")
        value = place
    try:
        colour = parse_colour(entry.get("colour"), where)
    except InputError as exc:
        problems.append(exc.message)
        colour = (0, 0, 0)
    return Phase(key, name, colour), value


def _clashes(code: LabelCode) -> list[str]:
    """What stands for two things at once."""
    problems = []
    colours = [phase.colour for phase in code.phases]
    for what, items in (
        ("keys", [phase.key for phase in code.phases]),
        ("colours", colours),
        ("values", code.values),
    ):
        if len(set(items)) != len(items):
            problems.append(f"[[phases]]: {what} must differ, found {', '.join(map(str, items))}")
    if code.ignore in code.values:
        name = code.phases[code.values.index(code.ignore)].name
        problems.append(
            f"{name} has the value {code.ignore}, which means `ignore` (255 unless stated); "
            "give `ignore` another number"
        )
    if code.ignore_colour in colours:
        name = code.phases[colours.index(code.ignore_colour)].name
        problems.append(f"{name} has the ignore_colour {code.ignore_colour}")
    return problems


def pixel_size(table: dict[str, Any], problems: list[str]) -> float | None:
    """`pixel_size_um` in micrometres; what is wrong with it is added to `problems`."""
    size = table.get("pixel_size_um")
    if size is None:
        return None
    if isinstance(size, int | float) and 0 < size < 1000:
        return float(size)
    problems.append(f"pixel_size_um must be a positive number of micrometres, found {size!r}")
    return None


def synthetic(table: dict[str, Any], problems: list[str]) -> bool:
    """`synthetic`, false unless stated; what is wrong with it is added to `problems`."""
    stated = table.get("synthetic", False)
    if isinstance(stated, bool):
        return stated
    problems.append(f"synthetic must be true or false, found {stated!r}")
    return False
