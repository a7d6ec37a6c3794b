"""Is an LZW stream sound? Asked before a decoder in C, which may crash on one that is not.

After a clear code (256) the table grows by one entry per code, so the width of every
code up to the next clear is known beforehand, and so is the largest value it may have:

    k-th code after a clear      0      1     2    ...  254 ...  766 ...  1790 ... 3837
    bits                         9      9     9          10       11       12
    may be at most             255    258   259         511

One pass of array arithmetic per clear checks them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_END, _FIRST_FREE = 257, 258
_MOST_CODES = 4096 - _FIRST_FREE + 1

_ORDER = np.arange(_MOST_CODES)
_LARGEST = np.where(_ORDER == 0, 255, _FIRST_FREE + _ORDER - 1).astype(np.uint32)
_WIDTHS = 9 + np.searchsorted([254, 766, 1790], _ORDER, side="right").astype(np.int64)
_STARTS = np.cumsum(_WIDTHS) - _WIDTHS
_ENDS = _STARTS + _WIDTHS
_MASKS = ((1 << _WIDTHS) - 1).astype(np.uint32)
# For each bit of a byte at which the first code may begin: the byte of every code and
# how far its three bytes have to be shifted.
_BYTES = [(_STARTS + phase) >> 3 for phase in range(8)]
_SHIFTS = [(24 - _WIDTHS - ((_STARTS + phase) & 7)).astype(np.uint32) for phase in range(8)]
_LOOK_AHEAD = 64


def is_sound(data: bytes, *, reversed_bits: bool = False) -> bool:
    """True unless a code refers to a table entry that does not exist yet.

    `reversed_bits` says that every byte begins with its lowest bit (FillOrder 2).
    Streams of TIFF 5's first drafts, with codes from low to high bits, are not sound.
    """
    # Codes span three bytes at most: 7 bits of offset and 12 of the code.
    stored = np.frombuffer(data + bytes(3), np.uint8)
    if reversed_bits:
        stored = np.packbits(np.unpackbits(stored, bitorder="little"))
    bits = 8 * len(data)
    if stored[0] == 0 and stored[1] & 1:
        return False  # the decoder takes it for a first draft's and reads its codes the other way
    # Clears come when the table is full. A stream of nothing but clears would cost minutes.
    clears_left = 16 + len(data) // 32
    at = 0
    while clears_left:
        count = _LOOK_AHEAD
        while True:
            codes, complete = _codes(stored, at, bits, count)
            special = np.flatnonzero((codes | 1) == _END)  # 256 clears, 257 ends
            if special.size or not complete or count == _MOST_CODES:
                break
            count = _MOST_CODES
        used = int(special[0]) if special.size else codes.size
        if (codes[:used] > _LARGEST[:used]).any():
            return False
        if not special.size:
            return not complete  # the data may end without an end code, the table may not
        if int(codes[used]) == _END:
            return True
        at += int(_ENDS[used])
        clears_left -= 1
    return False


def _codes(
    stored: NDArray[np.uint8], at: int, bits: int, count: int
) -> tuple[NDArray[np.uint32], bool]:
    """Up to `count` codes from bit `at` on, as after a clear; False where the data end first."""
    inside = min(count, int(np.searchsorted(_ENDS, bits - at, side="right")))
    if inside == 0:
        return np.zeros(0, np.uint32), inside == count
    places = _BYTES[at & 7][:inside]
    begin = at >> 3
    piece = stored[begin : begin + int(places[-1]) + 3].astype(np.uint32)
    window = (piece[:-2] << 16) | (piece[1:-1] << 8) | piece[2:]
    codes = (window[places] >> _SHIFTS[at & 7][:inside]) & _MASKS[:inside]
    return codes, inside == count
