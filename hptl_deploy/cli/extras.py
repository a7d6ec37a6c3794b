"""What is not installed is one sentence with the line that installs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hptl_deploy.errors import EnvironmentLacks


@contextmanager
def needs_extra(extra: str, purpose: str) -> Iterator[None]:
    """Turn a missing library inside the block into EnvironmentLacks naming the extra."""
    try:
        yield
    except ModuleNotFoundError as exc:
        raise EnvironmentLacks(
            f"{purpose} needs the library {exc.name}, which is not installed",
            hint=f'Install it: pip install "hptl-deploy[{extra}]"',
        ) from exc
