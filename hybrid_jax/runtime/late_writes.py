"""Writes that end after the save they belong to has failed.

Orbax ends a failed save, on a full disk say, while tensorstore's threads still write other parts of it. Each of them
then reports to an event loop that is closed, for which Python prints a traceback: hundreds of lines around the one
that says what is wrong.
"""

import sys
from typing import Any

_CLOSED = "Event loop is closed"


def ignore_late_writes() -> None:
    """From now on nothing is printed for a write that ends too late; other unraisable errors are printed as before."""
    before = sys.unraisablehook

    def hook(unraisable: Any, /) -> None:
        error = unraisable.exc_value
        if not (isinstance(error, RuntimeError) and str(error) == _CLOSED):
            before(unraisable)

    sys.unraisablehook = hook
