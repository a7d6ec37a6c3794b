"""What a header may declare: bounded by the file's own bytes and by the memory that is free."""

from __future__ import annotations

from hptl_deploy.errors import MicrographError

GIB = 2**30
MOST_PAGES = 100_000
"""Of a file whose pictures a short header declares; a project of a day's work has some hundreds."""
_UNASKED_BYTES = 16 * 2**20
"""Less is taken without asking the system, which a file of 100 000 small pages would notice."""


def check_size(width: int, height: int) -> None:
    """Raise MicrographError unless both sides, in pixels, are positive."""
    if width < 1 or height < 1:
        raise MicrographError(
            f"declares a picture of {width} x {height} pixels; expected at least 1 x 1",
            hint="Export it again from the microscope's program",
        )


def check_pictures(pictures: int, declared_bytes: int, file_bytes: int) -> None:
    """Refuse more pictures than a file can have, or pictures that lie upon each other.

    `declared_bytes` is what all of them take up in the file.
    """
    if pictures > MOST_PAGES:
        raise MicrographError(
            f"declares more than {MOST_PAGES} pictures; copy it again, or export those that are "
            "wanted as TIFF"
        )
    if declared_bytes > file_bytes:
        raise MicrographError(
            f"is damaged: its {pictures} pictures take up {declared_bytes} bytes, the file has "
            f"{file_bytes}; copy it again"
        )


def check_declared(
    width: int, height: int, decoded_bytes: int, stored_bytes: int, largest_ratio: float
) -> None:
    """Refuse a header that declares more than the file's bytes could possibly hold.

    `decoded_bytes` is what width x height pixels unpack to, `stored_bytes` what the file
    has for them, and `largest_ratio` how far the compression can go (1 for none).
    """
    if decoded_bytes > stored_bytes * largest_ratio:
        raise MicrographError(
            f"declares {width} x {height} pixels, which {stored_bytes} bytes of picture data "
            "cannot hold: it is cut short or its header is damaged; copy it again"
        )


def check_memory(width: int, height: int, needed_bytes: int) -> None:
    """Refuse to decode width x height pixels if `needed_bytes` are not free."""
    if needed_bytes <= _UNASKED_BYTES:
        return
    import psutil

    free = int(psutil.virtual_memory().available)
    if needed_bytes > free:
        raise MicrographError(
            f"declares {width} x {height} pixels: decoding them needs {needed_bytes / GIB:.1f} GiB "
            f"of memory, {free / GIB:.1f} GiB are free",
            hint="Close other programs or cut the micrograph into pieces",
        )
