"""The two flavours of TensorRT: one API under two names, each optional."""

from __future__ import annotations

import importlib
import re
import threading
from dataclasses import dataclass, field
from typing import Any

from hptl_deploy.errors import EnvironmentLacks, UsageError

Trt = Any
"""An object of either library, which ship no types."""

TENSORRT = "tensorrt"
TENSORRT_RTX = "tensorrt-rtx"


@dataclass(frozen=True)
class _Kind:
    title: str
    module: str
    oldest: tuple[int, int]
    """The first version whose API is the one used here; pyproject.toml says the same."""


_KINDS = {
    TENSORRT: _Kind("TensorRT", "tensorrt", (10, 12)),
    TENSORRT_RTX: _Kind("TensorRT for RTX", "tensorrt_rtx", (1, 2)),
}
FLAVOURS = tuple(_KINDS)
"""Keys, in the order in which they are preferred."""


@dataclass(frozen=True)
class Flavour:
    """A TensorRT that can be imported here."""

    key: str
    """`tensorrt` or `tensorrt-rtx`."""
    version: str
    """Exact; engines do not move between versions."""
    trt: Trt = field(repr=False, compare=False)
    """The imported module."""

    @property
    def title(self) -> str:
        """Its name in sentences."""
        return _KINDS[self.key].title

    @property
    def portable(self) -> bool:
        """True where engines are built for a set of cards and systems, without a card.

        Such an engine does not depend on the driver either: its kernels are compiled where
        it runs.
        """
        return self.key == TENSORRT_RTX


def load_flavour(key: str) -> Flavour:
    """The flavour `key`.

    Raises UsageError for an unknown key and EnvironmentLacks where it cannot be imported or is
    too old, with the line that installs it.
    """
    kind = _KINDS.get(key)
    if kind is None:
        raise UsageError(f"engine {key}: expected {' or '.join(FLAVOURS)}")
    install = f'Install it: pip install "hptl-deploy[{key}]"'
    try:
        trt = importlib.import_module(kind.module)
        version = str(trt.__version__)
    except ModuleNotFoundError as exc:
        raise EnvironmentLacks(
            f"{kind.title} is not installed (no module {exc.name})", hint=install
        ) from exc
    # What is half installed fails in many ways: a wheel without its libraries raises OSError,
    # a stub RuntimeError, a folder of the module's name has no version.
    except (ImportError, OSError, RuntimeError, AttributeError) as exc:
        first = (str(exc).strip().splitlines() or [type(exc).__name__])[0]
        raise EnvironmentLacks(
            f"{kind.title} is installed but cannot be loaded ({first})",
            hint=f"Install it again: pip install --force-reinstall {key}",
        ) from exc
    if _leading(version) < kind.oldest:
        raise EnvironmentLacks(
            f"{kind.title} {version} is installed, expected "
            f"{'.'.join(map(str, kind.oldest))} or newer",
            hint=f"Install a newer one: pip install --upgrade {key}",
        )
    return Flavour(key, version, trt)


def installed_flavours() -> list[Flavour]:
    """Every flavour that loads, the preferred one first."""
    found = []
    for key in FLAVOURS:
        try:
            found.append(load_flavour(key))
        except EnvironmentLacks:
            continue
    return found


def _leading(version: str) -> tuple[int, int]:
    """The first two numbers of a version; (0, 0) where it has none."""
    match = re.match(r"(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else (0, 0)


class Messages:
    """What a flavour said; its library prints to the screen unless it is given a logger."""

    _LIMIT = 1000
    """Errors kept: the first ones name the cause."""

    def __init__(self) -> None:
        self._errors: list[str] = []
        self._lock = threading.Lock()

    def add(self, text: str) -> None:
        """An error, from any thread."""
        with self._lock:
            if len(self._errors) < self._LIMIT:
                self._errors.append(text)

    def forget(self) -> None:
        """Drop what has been said, so that the next error belongs to the next step."""
        with self._lock:
            self._errors.clear()

    def cause(self) -> str:
        """The first error in words; `no reason given` where there is none."""
        with self._lock:
            return tidy(self._errors[0]) if self._errors else "no reason given"


def new_logger(flavour: Flavour) -> tuple[Trt, Messages]:
    """(a logger for the flavour's objects, the messages that it collects).

    The logger must outlive every object that it was given to.
    """
    messages = Messages()
    trt = flavour.trt
    worst = int(trt.ILogger.Severity.ERROR)

    class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
        """Keeps errors for the sentence that reports them; the rest is for its developers."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Trt, text: str) -> None:
            """Called by the library, from any thread."""
            # An internal remark of the builder, at the severity of a failure.
            if int(severity) <= worst and not text.startswith("Thread context has not been set"):
                messages.add(text)

    return Logger(), messages


def tidy(text: str) -> str:
    """One line of an error's text, without the places in the library's source."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["no reason given"]
    line = next((line for line in lines if "Error Code" in line), lines[0])
    line = re.sub(r"^\[[^\]]*\.\w+::[^\]]*\]\s*", "", line)
    line = re.sub(r"\s*In \w+ at [^\s()]+:\d+", "", line)
    line = re.sub(r"^\w+::\w+: Error Code \d+: ", "", line)
    line = re.sub(r"\s+", " ", line).strip().rstrip(".")
    return line if len(line) <= 300 else f"{line[:297]}..."
