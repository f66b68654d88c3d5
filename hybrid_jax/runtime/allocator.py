"""A bounded memory allocator for the CPU on Linux: glibc keeps small freed blocks and returns large ones to the kernel.

XLA's CPU client allocates its temporary arrays again at every step. A heap that also keeps the large ones fragments:
training all-MiniLM-L6-v2 (batch 32, passages of 256 tokens) passed 11.5 GiB, where a step plans 4.8. With these
settings it peaks at 5.8 GiB (glibc's own: 6.1), and configs/demo.yaml at 1.06 GiB in 800 steps, without growing.
CPU time per step is that of glibc's own settings. The environment variable GLIBC_TUNABLES=glibc.malloc.hugetlb=1 saves
a tenth or more of it in the demo, with no more memory, where the kernel offers huge pages to programs that ask.
"""

import ctypes
import sys

_MIB = 2**20
# The option numbers are those of malloc.h: M_ARENA_MAX, M_MMAP_THRESHOLD (at most 32 MiB), M_TRIM_THRESHOLD, M_TOP_PAD
_SETTINGS = ((-8, 1), (-3, 32 * _MIB), (-1, 512 * _MIB), (-2, 64 * _MIB))


def keep_freed_memory() -> None:
    """Makes glibc's malloc use one arena that keeps up to 512 MiB of freed blocks. Call it before importing jax.

    Blocks of 32 MiB or more are mapped singly and returned when they are freed. Does nothing on another system, or
    with another C library.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for option, value in _SETTINGS:
            mallopt(option, value)
