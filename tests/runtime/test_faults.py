"""Mapped files that cannot be read: one that is cut while it is mapped gives SIGBUS, as a failing disk does."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

READ = """
import os, sys, threading, time
import numpy as np
from hybrid_jax.runtime import faults
faults.PAUSES = (0.2, 0.4, 0.8)
faults.retry_faults()
path, comes_back = sys.argv[1], sys.argv[2] == "yes"
content = np.arange(100_000)
np.save(path, content)
mapped = np.load(path, mmap_mode="r")
with open(path, "r+b") as file:
    whole = file.read()
    file.truncate(4096)
if comes_back:
    def restore():
        time.sleep(0.9)
        with open(path, "r+b") as file:
            file.write(whole)
    threading.Thread(target=restore).start()
print(int(mapped[[50_000, 99_999]].sum()) == 149_999)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="handled on Linux only")
@pytest.mark.parametrize("comes_back", [True, False])
def test_it_is_read_again_for_a_while_and_then_named(tmp_path: Path, comes_back: bool):
    began = time.monotonic()
    words = [sys.executable, "-c", READ, str(tmp_path / "a.npy"), "yes" if comes_back else "no"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    if comes_back:
        assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
    else:
        assert done.returncode == 1
        assert done.stderr.startswith("error: a file that is mapped into memory cannot be read (4 times in 1.4 s): was")
        assert done.stderr.count("\n") == 1
        assert time.monotonic() - began > 1.4
