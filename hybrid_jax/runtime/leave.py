"""The end of a process whose threads may be in the middle of a step, and its exit status."""

import os
import sys
from typing import NoReturn

STOPPED = 75
"""The exit status of a run that was told to stop and lost nothing: EX_TEMPFAIL of sysexits.h, "try again later". It is
the same in all processes, whichever of them was told; no shell, Python or signal ends a process with it."""


def leave(status: int) -> NoReturn:
    """Ends this process with the exit status that its `main` returned; at once unless it succeeded (0).

    `sys.exit` takes Python down first. After a signal, a step still runs on threads of XLA, and one that then asks for
    Python is ended inside C++ code, which aborts the process ("FATAL: exception not rethrown", status 134). After a
    save that failed, Python may wait for threads of Orbax that never end.
    """
    if status:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
