"""Changes that know nothing of a file's format, and which one a seed and a number mean."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence

Change = Callable[[bytearray, random.Random], bytearray]

INTERESTING = (
    0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 63, 64, 127, 128, 255, 256, 257, 1000, 1023, 4095,
    4096, 32767, 32768, 65535, 65536, 2**20, 2**24, 2**24 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32,
    2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1,
)  # fmt: skip
"""Where sums, products and casts of libraries go wrong."""

_FORMATS = {1: "B", 2: "H", 4: "I", 8: "Q"}


def chance_of(seed: int, number: int) -> random.Random:
    """The dice of one file: the same wherever, and in whatever order, it is made."""
    return random.Random(f"{seed}:{number}")


def packed(value: int, length: int, order: str) -> bytes:
    """`value` as an unsigned number of `length` bytes, its high bits lost."""
    return struct.pack(order + _FORMATS[length], value & ((1 << 8 * length) - 1))


def interesting(chance: random.Random, near: int = 0) -> int:
    """A number that libraries stumble over, or one beside `near`."""
    if chance.random() < 0.25:
        return max(0, near + chance.choice((-2, -1, 1, 2, near, 3 * near, -near // 2)))
    return chance.choice(INTERESTING)


def flip_bits(content: bytearray, chance: random.Random) -> bytearray:
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return content


def write_run(content: bytearray, chance: random.Random) -> bytearray:
    """A run of one byte, or of any."""
    length = chance.choice((1, 2, 4, 8, 32, 200))
    place = chance.randrange(len(content))
    run = bytes([chance.choice((0, 1, 127, 128, 255))]) * length
    if chance.random() < 0.5:
        run = chance.randbytes(length)
    content[place : place + length] = run[: len(content) - place]
    return content


def cut(content: bytearray, chance: random.Random) -> bytearray:
    del content[chance.randrange(len(content)) :]
    return content


def lose_or_put_in(content: bytearray, chance: random.Random) -> bytearray:
    place, length = chance.randrange(len(content)), chance.choice((1, 2, 4, 16, 100))
    if chance.random() < 0.5:
        del content[place : place + length]
    else:
        content[place:place] = chance.randbytes(length)
    return content


def write_number(content: bytearray, chance: random.Random) -> bytearray:
    """An interesting number in an aligned field, more often near the beginning or the end."""
    length, order = chance.choice((1, 2, 4, 8)), chance.choice("<>")
    reach = chance.choice((64, 512, len(content)))
    place = chance.randrange(min(reach, len(content)))
    if chance.random() < 0.3:
        place = len(content) - 1 - place
    place -= place % chance.choice((1, 2, min(length, 4)))
    number = packed(interesting(chance), length, order)
    content[place : place + length] = number[: len(content) - place]
    return content


def repeat(content: bytearray, chance: random.Random) -> bytearray:
    """A piece of the file once more, elsewhere in it."""
    start, length = chance.randrange(len(content)), chance.choice((2, 8, 12, 64, 400))
    place = chance.randrange(len(content))
    piece = content[start : start + length]
    end = place if chance.random() < 0.5 else place + len(piece)
    content[place:end] = piece
    return content


def spliced(content: bytearray, other: bytes, chance: random.Random) -> bytearray:
    """The beginning of one file and the end of another, or a piece of the other inside."""
    if chance.random() < 0.5:
        return content[: chance.randrange(len(content))] + other[chance.randrange(len(other)) :]
    place, start = chance.randrange(len(content)), chance.randrange(len(other))
    length = chance.choice((4, 12, 64, 512, 4000))
    content[place : place + length] = other[start : start + length]
    return content


BLIND: Sequence[Change] = (
    flip_bits, flip_bits, write_run, write_number, write_number, cut, lose_or_put_in, repeat,
)  # fmt: skip


def mutated(
    content: bytes, others: Sequence[bytes], changes: Sequence[Change], chance: random.Random
) -> bytes:
    """One to four changes: half of them of `changes`, which know the format."""
    altered = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 4))):
        altered = altered or bytearray(1)
        kind = chance.random()
        if kind < 0.06:
            altered = spliced(altered, chance.choice(others), chance)
        elif changes and kind < 0.6:
            altered = chance.choice(changes)(altered, chance)
        else:
            altered = chance.choice(BLIND)(altered, chance)
    return bytes(altered)
