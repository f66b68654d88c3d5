"""Libraries that import torch where it is installed, without it: 180 MiB and a second, for nothing that we use."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_left_out = False


def leave_torch_out() -> None:
    """Makes this whole process use such libraries as where torch is not installed; call it in a program's own `main`.

    They remember that there is none, so that transformers' models, for one, cannot be used any more in this process.
    """
    global _left_out
    _left_out = True


@contextmanager
def torch_left_out() -> Iterator[None]:
    """Whoever imports torch meanwhile finds none, after `leave_torch_out`, and unless it was imported before."""
    if not _left_out or "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # pyright: ignore[reportArgumentType] (how Python is told that there is none)
    try:
        yield
    finally:
        del sys.modules["torch"]
