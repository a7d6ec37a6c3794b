"""Which phase a shape's name stands for."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

from hptl_deploy.annotations.base import Shape
from hptl_deploy.annotations.sources import Problem
from hptl_deploy.datasets.description import label_code
from hptl_deploy.errors import DataSetError
from hptl_deploy.phases import PAPER_PHASES, Phase, key_from_name
from hptl_deploy.wording import one_line


def read_phases(path: Path) -> tuple[Phase, ...]:
    """The `[[phases]]` of a TOML file, such as a dataset.toml. Raises DataSetError."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as exc:
        raise DataSetError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
    except (ValueError, RecursionError) as exc:
        raise DataSetError(f"{path}: is not readable TOML ({one_line(str(exc))})") from exc
    if "phases" not in table:
        raise DataSetError(f"{path}: lists no [[phases]]", hint="Add one per class")
    problems: list[str] = []
    code = label_code({"phases": table["phases"]}, problems)
    if problems:
        raise DataSetError(f"phases {path}", problems=problems)
    return code.phases


class Classes:
    """Names to class indices, whatever their case; collects the names nobody knows."""

    def __init__(self, phases: Sequence[Phase] | None) -> None:
        """The paper's phases where none are given."""
        self.given = phases is not None
        self.phases = tuple(phases) if phases is not None else PAPER_PHASES
        self._index = {
            name.casefold(): place
            for place, phase in enumerate(self.phases)
            for name in (key_from_name(phase.name), phase.key, phase.name)
            if name
        }
        self.unknown: dict[str, int] = {}

    def find(self, shape: Shape) -> int | None:
        """Its class index; None where no name is known, which is then counted.

        Raises Problem where its name and its group say different things.
        """
        places = (self._index.get(label.strip().casefold()) for label in shape.labels)
        place = next((found for found in places if found is not None), None)
        if shape.group:
            known = shape.group < len(self.phases)
            if place is None and known:
                return shape.group
            if place is not None and place != shape.group:
                said = self.phases[shape.group].name if known else "no phase"
                raise Problem(
                    f"{shape.where}: its name means {self.phases[place].name}, its group "
                    f"{shape.group} {said}"
                )
        if place is None:
            label = one_line(shape.labels[0], 60) or "(none)"
            if shape.group:
                label += f", group {shape.group}"
            self.unknown[label] = self.unknown.get(label, 0) + 1
        return place

    def problems(self) -> list[str]:
        """One line on all unknown names, with how many shapes have each."""
        if not self.unknown:
            return []
        ranked = sorted(self.unknown.items(), key=lambda item: (-item[1], item[0]))
        listed = ", ".join(
            f"{label} ({count} {'shape' if count == 1 else 'shapes'})"
            for label, count in ranked[:20]
        )
        more = f" and {len(ranked) - 20} more" if len(ranked) > 20 else ""
        known = ", ".join(f"{phase.name} ({phase.key})" for phase in self.phases)
        way = "" if self.given else "; name your own phases with --phases FILE"
        return [f"unknown label names {listed}{more}; expected {known}{way}"]
