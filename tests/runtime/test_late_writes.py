"""What tensorstore's threads say when the save that they write for has failed."""

import subprocess
import sys

LATE = """
import asyncio
import tensorstore
from hybrid_jax.runtime.late_writes import ignore_late_writes

class Broken:
    def __del__(self):
        raise RuntimeError("of another kind")

async def wait(write):
    await write

ignore_late_writes()
promise, write = tensorstore.Promise.new()
loop = asyncio.new_event_loop()
task = loop.create_task(wait(write))
loop.run_until_complete(asyncio.sleep(0.01))
loop.close()
promise.set_result(None)
Broken()
task._log_destroy_pending = False
"""


def test_a_late_write_prints_nothing_and_other_errors_are_printed():
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Event loop is closed" not in done.stderr
    assert done.stderr.count("Traceback") == 1
    assert "RuntimeError: of another kind" in done.stderr
