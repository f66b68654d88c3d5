"""Numbers for distinct strings, at about 30 bytes each: digests in flat arrays, no Python object per string."""

from hashlib import blake2b
from typing import NamedTuple

import numpy as np

DIGEST_BYTES = 16
"""The probability that two among a billion different strings have the same digest is below 1e-20."""
_FULL = 2 / 3
"""The share of slots in use at which the table is made twice as large."""


class Numbered(NamedTuple):
    """The number of a string, and whether it was added for the first time."""

    number: int
    is_new: bool


class DigestNumbers:
    """Numbers distinct strings from 0, in the order in which they first come.

    A hash table with open addressing and linear probing: 16 bytes for each digest, and 6 to 12 for its slots.
    """

    def __init__(self):
        self._digests = bytearray()
        self._make_slots(1 << 10)

    def __len__(self) -> int:
        return len(self._digests) // DIGEST_BYTES

    def add(self, data: bytes) -> Numbered:
        """The string's number, and whether it is a new one."""
        digest = blake2b(data, digest_size=DIGEST_BYTES).digest()
        slots, digests, mask = self._slots, self._digests, self._mask
        slot = int.from_bytes(digest[:8], "little") & mask
        while (number := slots[slot]) >= 0:
            if digests[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES] == digest:
                return Numbered(number, False)
            slot = (slot + 1) & mask
        number = len(digests) // DIGEST_BYTES
        slots[slot] = number
        digests += digest
        if number >= self._limit:
            self._make_slots(2 * len(slots))
        return Numbered(number, True)

    def _make_slots(self, size: int) -> None:
        """Makes `size` slots (a power of two) and puts all digests there."""
        self._mask, self._limit = size - 1, int(size * _FULL)
        self._slots = memoryview(b"")  # frees the old ones
        slots = np.full(size, -1, np.int32)
        numbers = np.arange(len(self), dtype=np.int32)
        place = np.frombuffer(self._digests, np.uint64)[::2] & np.uint64(self._mask)
        while len(numbers):
            is_free = slots[place] < 0
            slots[place[is_free]] = numbers[is_free]  # of several with one place, the last gets it
            left = slots[place] != numbers
            numbers, place = numbers[left], (place[left] + np.uint64(1)) & np.uint64(self._mask)
        self._slots = slots.data  # whose items are read faster than an array's
