"""The one place where the errors and noises of the image libraries are translated.

`open_micrograph` and `Page.read` run inside `translated`: what they raise is a
MicrographError, and what the libraries log or warn about stays off the screen
(the sentence says what matters). Both hold only for the thread inside: another
part of the program that uses the same libraries sees and hears what it always did.
"""

from __future__ import annotations

import errno
import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hptl_deploy.errors import MicrographError

_LIBRARIES = ("tifffile", "PIL", "imagecodecs", "liffile", "nd2")
_LIBRARY_MODULES = r"(tifffile|PIL|imagecodecs|liffile|nd2)(\.|$)"
_LONGEST_REASON = 120
_INTERNAL = (
    *(TypeError, ValueError, KeyError, IndexError, AttributeError, AssertionError),
    *(ZeroDivisionError, OverflowError, RecursionError),
)
"""Raised by libraries that trusted a damaged header: their words are about the program."""


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong inside into MicrographError with one sentence.

    KeyboardInterrupt and SystemExit pass. `path` is removed from foreign messages.
    """
    try:
        with _quiet():
            yield
    except MicrographError:
        raise
    except MemoryError as exc:
        raise MicrographError(
            "needs more memory than is free",
            hint="Close other programs or cut the micrograph into pieces",
        ) from exc
    except OSError as exc:
        raise MicrographError(_system_sentence(exc, path)) from exc
    except Exception as exc:
        raise MicrographError(_damage_sentence(exc, path)) from exc


def _system_sentence(error: OSError, path: Path) -> str:
    match error.errno:
        case errno.ENOENT:
            return "does not exist (any more)"
        case errno.EACCES | errno.EPERM:
            return "may not be read: permission denied; ask for read access or copy it elsewhere"
        case errno.EISDIR:
            return "is a folder; expected a micrograph file"
        case None:
            # Pillow raises OSError for damaged files too.
            return _damage_sentence(error, path)
        case _:
            return f"cannot be read: {_one_line(error.strerror or str(error), path)}"


def _damage_sentence(error: Exception, path: Path) -> str:
    if type(error) in _INTERNAL:
        reason = "its fields contradict each other"
    else:
        reason = _one_line(str(error), path) or type(error).__name__
    return f"is damaged or of a kind that cannot be decoded ({reason}); copy or export it again"


def _one_line(text: str, path: Path) -> str:
    for name in (str(path), path.name):
        text = text.replace(name, "the file")
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    text = re.sub(r"\s+", " ", text).strip().rstrip(".")
    return text if len(text) <= _LONGEST_REASON else text[: _LONGEST_REASON - 3] + "..."


class _Silence(logging.Filter):
    """Drops the records of threads that are reading a micrograph."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        return getattr(self.reading, "depth", 0) == 0


_silence = _Silence()
_warnings_lock = threading.Lock()
_warnings_readers = 0
_warnings_context: warnings.catch_warnings[None] | None = None


@contextmanager
def _quiet() -> Iterator[None]:
    # A logger's filter does not see its children's records, so each one is asked;
    # adding the same filter twice changes nothing.
    for name in (*_LIBRARIES, *_children()):
        logging.getLogger(name).addFilter(_silence)
    _silence.reading.depth = getattr(_silence.reading, "depth", 0) + 1
    _ignore_warnings()
    try:
        yield
    finally:
        _restore_warnings()
        _silence.reading.depth -= 1


def _children() -> list[str]:
    known = list(logging.root.manager.loggerDict)
    return [name for name in known if name.startswith(tuple(f"{top}." for top in _LIBRARIES))]


def _ignore_warnings() -> None:
    """Ignore the libraries' warnings until the last reading thread is done.

    The filters of `warnings` belong to the whole process and saving them is not safe
    between threads: the first thread in saves them, the last one out restores them.
    """
    global _warnings_readers, _warnings_context  # noqa: PLW0603 - process-wide by nature
    with _warnings_lock:
        if _warnings_readers == 0:
            _warnings_context = warnings.catch_warnings()
            _warnings_context.__enter__()
            warnings.filterwarnings("ignore", module=_LIBRARY_MODULES)
        _warnings_readers += 1


def _restore_warnings() -> None:
    global _warnings_readers, _warnings_context  # noqa: PLW0603 - process-wide by nature
    with _warnings_lock:
        _warnings_readers -= 1
        if _warnings_readers == 0 and _warnings_context is not None:
            _warnings_context.__exit__(None, None, None)
            _warnings_context = None
