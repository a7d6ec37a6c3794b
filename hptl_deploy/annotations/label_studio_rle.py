"""Label Studio's run lengths of a brush: a stream of bits, most significant first.

32 bits  how many values follow (4 per pixel: R, G, B, A)
 5 bits  bits of a value, less 1
4 x 4    bits of each of four kinds of length, less 1
then:    1 bit   a run of one value (1), or single values (0)
         2 bits  which kind of length
         length  how many values, less 1
         value   once for a run, else each
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hptl_deploy.annotations.sources import Problem, member

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def decode_mask(rle: object, width: int, height: int, where: str) -> NDArray[np.bool_]:
    """Pixels that a brush covers (alpha above 0): bool [height, width]; raises Problem."""
    import numpy as np

    stream = member({"rle": rle}, "rle", list, where)
    try:
        packed = np.array(stream, dtype=np.uint8)
        if packed.ndim != 1 or not all(type(byte) is int for byte in stream):
            raise ValueError
    except (ValueError, TypeError, OverflowError) as exc:
        raise Problem(f"{where}: its rle holds something else than bytes") from exc
    bits = np.unpackbits(packed)
    values = _values(bits, 4 * width * height, where)
    return np.asarray(values.reshape(height, width, 4)[..., 3] > 0)


def _values(bits: NDArray[np.uint8], expected: int, where: str) -> NDArray[np.uint8]:
    import numpy as np

    place = 0

    def take(count: int) -> int:
        nonlocal place
        if place + count > bits.size:
            raise Problem(f"{where}: its rle ends too early")
        number = int.from_bytes(np.packbits(bits[place : place + count]).tobytes(), "big")
        place += count
        return number >> (-count % 8)

    total, word = take(32), take(5) + 1
    if total != expected:
        raise Problem(
            f"{where}: its rle holds {total} values; expected {expected}, 4 for each of the "
            "image's pixels"
        )
    if word > 8:
        raise Problem(f"{where}: its rle has values of {word} bits; expected 8 at most")
    lengths = [take(4) + 1 for _ in range(4)]
    try:
        values = np.zeros(total, np.uint8)
    except (MemoryError, ValueError) as exc:
        raise Problem(f"{where}: its rle is too large for the memory that is free") from exc
    done = 0
    weights = 1 << np.arange(word - 1, -1, -1)
    while done < total:
        is_run = take(1)
        end = done + 1 + take(lengths[take(2)])
        if end > total:
            raise Problem(f"{where}: its rle holds more values than it says")
        if is_run:
            values[done:end] = take(word)
        else:
            count = (end - done) * word
            if place + count > bits.size:
                raise Problem(f"{where}: its rle ends too early")
            values[done:end] = bits[place : place + count].reshape(-1, word) @ weights
            place += count
        done = end
    return values
