"""Reads of files that are mapped into memory, such as token tables: when one fails, the kernel sends SIGBUS.

By default that ends the process without a word. Here the read is tried again for a while, as `disk/reading.py` does
with other files, and then the process ends with one line.
"""

import ctypes
import os
import signal
import sys
import time

PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each further try, 15.5 in all."""
_FORGOTTEN = 60.0
"""Seconds after which a failure is a new one."""
_STDERR = 2
_handler: object = None
_LINE = (
    "error: a file that is mapped into memory cannot be read ({} times in {:g} s): was it cut or removed, or is its "
    "disk or network gone? Give the same command again; a damaged cache makes itself again\n"
)


def retry_faults() -> None:
    """Handles SIGBUS from now on. Call it in the main thread; does nothing but on Linux."""
    if sys.platform != "linux":
        return
    failures = 0
    last = -_FORGOTTEN

    def handle(number: int) -> None:
        nonlocal failures, last
        failures = 1 if time.monotonic() - last > _FORGOTTEN else failures + 1
        if failures > len(PAUSES):
            os.write(_STDERR, _LINE.format(failures, sum(PAUSES)).encode())
            os._exit(1)
        time.sleep(PAUSES[failures - 1])
        last = time.monotonic()
        # Returning from here repeats the read. Python's own handlers run later, and so never.

    global _handler
    _handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(handle)  # C code keeps only its address
    install = ctypes.CDLL(None).signal
    install.restype = ctypes.c_void_p
    install(signal.SIGBUS, _handler)
