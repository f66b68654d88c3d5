"""The end of a process whose threads may be in the middle of a step, and its exit status."""

import atexit
import os
import sys
from typing import NoReturn

STOPPED = 75
"""The exit status of a run that was told to stop and lost nothing: EX_TEMPFAIL of sysexits.h, "try again later". It is
the same in all processes, whichever of them was told; no shell, Python or signal ends a process with it."""


def leave(status: int) -> NoReturn:
    """Ends this process with the exit status that its `main` returned, without taking Python down.

    `sys.exit` takes Python down first. A thread that is in C++ code then, in a step of XLA, say, or in a message to
    another process, and comes back to Python, is ended there, which aborts the process ("FATAL: exception not
    rethrown", status 134), after a complete run, too. After a save that failed, Python may wait for threads of Orbax
    that never end. What is registered for the end of a program is done after success only.
    """
    if status == 0:
        atexit._run_exitfuncs()  # has no public name
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # a full disk, or a reader that is gone: the last lines are lost
        status = status or 1
    os._exit(status)
