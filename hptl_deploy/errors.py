"""Every error a user can meet, as one tree.

    HptlError                      exit code
    ├── InputError                 2   what was given cannot be used
    │   ├── UsageError             2   the command's own words
    │   ├── MicrographError        2   one micrograph (in a folder run: its line in failures.csv)
    │   ├── DataSetError           2   a labelled data set
    │   ├── ModelError             2   a model file or folder
    │   ├── RecipeError            2   a training recipe
    │   ├── RunError               2   a training run's folder
    │   └── ResultsError           2   a results folder
    ├── EngineError                1   inference itself failed
    │   └── DeviceError            1   the card or its driver failed
    │       └── OutOfDeviceMemory  1   no room for this batch; a smaller one may go through
    ├── VerificationError          1   an exported model does not say what the network says
    ├── EnvironmentLacks           3   a library, driver or device that was asked for
    └── Interrupted                130 stopped by the user, finished work kept

Where some inputs of a folder failed and the rest is done, nothing is raised: the command
names each and ends with exit code 1.

A message is a sentence for a metallographer: which object, what was found, what
was expected, what to do. Errors of other libraries are translated once, where
they are called, with `raise ... from exc`; `hptl_deploy.cli.main` is the only
place that prints an error and ends the process.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_SOME_FAILED = 1
EXIT_USAGE = 2
EXIT_ENVIRONMENT = 3
EXIT_INTERRUPTED = 130


class HptlError(Exception):
    """The root of the tree; `exit_code` is what the process ends with."""

    exit_code = EXIT_SOME_FAILED

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


class InputError(HptlError):
    """What was given cannot be used."""

    exit_code = EXIT_USAGE


class UsageError(InputError):
    """The command's own options and arguments."""


class MicrographError(InputError):
    """One micrograph cannot be read."""


class _ProblemsError(InputError):
    """`problems` lists everything that is wrong, not the first, one line each."""

    def __init__(
        self, message: str, *, problems: list[str] | None = None, hint: str | None = None
    ) -> None:
        self.problems = problems or []
        lines = "".join(f"\n  - {problem}" for problem in self.problems)
        super().__init__(message + lines, hint=hint)


class DataSetError(_ProblemsError):
    """A labelled data set."""


class ModelError(InputError):
    """A model file or folder."""


class RecipeError(_ProblemsError):
    """A training recipe."""


class RunError(InputError):
    """A training run's folder."""


class ResultsError(_ProblemsError):
    """A results folder."""


class EngineError(HptlError):
    """Inference failed."""


class DeviceError(EngineError):
    """The device or its driver failed; what was queued on it may not have been done."""


class OutOfDeviceMemory(DeviceError):
    """The device has no room for what was asked; smaller pieces may still go through."""


class VerificationError(HptlError):
    """An exported model failed a check, so nothing was published."""


class EnvironmentLacks(HptlError):
    """This machine lacks a library, driver or device that was asked for."""

    exit_code = EXIT_ENVIRONMENT


class Interrupted(HptlError):
    """Stopped by the user; finished work is kept."""

    exit_code = EXIT_INTERRUPTED
