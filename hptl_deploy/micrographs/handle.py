"""A picture's file, opened so that nothing can be asked of it that it does not have.

Python makes room for all the bytes that are asked for before it reads the first one, and the
libraries ask for what a header says: a PNG of 300 bytes may announce a chunk of 4 GiB.
"""

from __future__ import annotations

import io
from pathlib import Path

from hptl_deploy.micrographs.sniff import file_size

_UNASKED = 2**20
"""Bytes that are read without a look at the file's size: most reads are small."""
_BUFFER = 4096
"""Bytes that are kept: few, because a file that is being written changes behind them."""


class PictureFile(io.BufferedReader):
    """The file at `path`, for reading; no read makes room for more than what is left of it."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path), _BUFFER)

    def read(self, size: int | None = -1, /) -> bytes:
        """Up to `size` bytes."""
        if size is not None and size > _UNASKED:
            size = min(size, max(0, file_size(self) - self.tell()))
        return super().read(size)
