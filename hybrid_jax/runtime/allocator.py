"""A bounded and fast memory allocator for the CPU on Linux: large blocks are returned when freed, in huge pages.

XLA's CPU client allocates its temporary arrays again at every step. A heap that keeps the large ones fragments.
Measured in turns with such a heap, 2 cores, seed 0, commits 3781c1f and 0d0902d: configs/demo.yaml (80 steps, medians
of 3 runs) 660 against 594 pairs a second in 0.85 against 1.31 GiB; all-MiniLM-L6-v2 (batch 32, passages of 256 tokens,
8 steps, one run) 4.2 against 3.9 s a step, 4.2 and 4.5 in the mean, in 6.0 against 14.9 GiB, where a step plans 4.8.

A block that was returned costs a page fault per page when it is used again, which huge pages make rare: a step of
all-MiniLM-L6-v2's size in bfloat16 with dropout takes 2.70 instead of 3.48 s (benchmarks/step.py, docs/performance.md).
"""

import ctypes
import os
import sys
from pathlib import Path

_MIB = 2**20
# The option numbers are those of malloc.h: M_ARENA_MAX, M_MMAP_THRESHOLD (at most 32 MiB), M_TRIM_THRESHOLD, M_TOP_PAD
_SETTINGS = ((-8, 1), (-3, 32 * _MIB), (-1, 512 * _MIB), (-2, 64 * _MIB))
_TUNABLES = "GLIBC_TUNABLES"
_HUGE_PAGES = "glibc.malloc.hugetlb=1"
_KERNEL = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def keep_freed_memory() -> None:
    """Makes glibc's malloc use one arena that keeps up to 512 MiB of freed blocks. Call it before importing jax.

    Blocks of 32 MiB or more are mapped singly and returned when they are freed. Does nothing on another system, or
    with another C library.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for option, value in _SETTINGS:
            mallopt(option, value)


def give_back() -> None:
    """Gives the heap's free pages back to the system, in .1 s or less; does nothing where there is no glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def use_huge_pages() -> None:
    """Starts this program again, once, with huge pages for malloc; call it first thing in a program's own `main`.

    glibc reads this setting only when a process starts. The process keeps its number. Nothing happens where the kernel
    does not offer huge pages to those who ask, or where GLIBC_TUNABLES is set: GLIBC_TUNABLES= switches it off.
    """
    if sys.platform != "linux" or _TUNABLES in os.environ or not huge_pages_offered():
        return
    os.execve(sys.executable, sys.orig_argv, {**os.environ, _TUNABLES: _HUGE_PAGES})


def huge_pages_offered() -> bool:
    """Whether the kernel gives huge pages to programs that ask for them, and only to those."""
    try:
        return "[madvise]" in _KERNEL.read_text()
    except OSError:
        return False
