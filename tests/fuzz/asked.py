"""What whoever runs the long tests may ask for, by variables of the environment."""

from __future__ import annotations

import os
import sys

import pytest

SEED = int(os.environ.get("HPTL_FUZZ_SEED", "1"))
"""Another seed, other files."""
FILES = int(os.environ.get("HPTL_FUZZ_FILES", "20000"))
"""Damaged pictures of the long test; of models it takes half as many."""

needs_limits = pytest.mark.skipif(
    not sys.platform.startswith("linux"),
    reason="the memory of a process is capped by means of Linux (resource, /proc)",
)
