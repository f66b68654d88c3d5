"""The end of a process whose threads may be in the middle of a step."""

import os
import sys
from typing import NoReturn


def leave(status: int) -> NoReturn:
    """Ends this process with the exit status that its `main` returned; at once if a signal stopped it (above 128).

    `sys.exit` takes Python down first. After a signal, a step still runs on threads of XLA, and one that then asks for
    Python is ended inside C++ code, which aborts the process ("FATAL: exception not rethrown", status 134).
    """
    if status > 128:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
