"""What a model's error says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hptl_deploy.errors import ModelError


def sentence(call: Callable[[], object]) -> str:
    """The text of the ModelError that `call` raises: one line, exit code 2."""
    with pytest.raises(ModelError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    assert caught.value.exit_code == 2
    return text
