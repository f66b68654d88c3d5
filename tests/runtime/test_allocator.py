"""A program starts again once for huge pages, as the same process with the same arguments; and gives memory back."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hybrid_jax.runtime.allocator import huge_pages_offered

SCRIPT = """
import os, sys
from hybrid_jax.runtime.allocator import use_huge_pages
before = os.environ.get("GLIBC_TUNABLES")
sys.stdout.write(f"{os.getpid()} {sys.argv[1:]} {before}\\n")
sys.stdout.flush()
use_huge_pages()
sys.stdout.write("done\\n")
"""

FREED = """
import ctypes, re
from hybrid_jax.runtime.allocator import give_back, keep_freed_memory

def resident():
    with open("/proc/self/status") as file:
        return int(re.search(r"RssAnon:\\s+(\\d+) kB", file.read())[1]) / 1024

keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
blocks = [libc.malloc(2**16) for _ in range(1024)]
for block in blocks:
    ctypes.memset(block, 1, 2**16)
for block in blocks[:-1]:  # the last one keeps the heap from shrinking
    libc.free(block)
before = resident()
give_back()
print(before - resident())
"""


def run(tmp_path: Path, **environment: str) -> list[str]:
    (tmp_path / "program.py").write_text(SCRIPT)
    clean = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    command = [sys.executable, str(tmp_path / "program.py"), "an argument", "--and=another"]
    output = subprocess.run(command, env={**clean, **environment}, capture_output=True, text=True, check=True)
    return output.stdout.splitlines()


def test_a_program_starts_again_once_as_the_same_process_where_the_kernel_offers_huge_pages(tmp_path: Path):
    first, *again, done = run(tmp_path)
    assert again == ([first.removesuffix("None") + "glibc.malloc.hugetlb=1"] if huge_pages_offered() else [])
    assert done == "done"


def test_a_setting_of_the_user_stays(tmp_path: Path):
    first, done = run(tmp_path, GLIBC_TUNABLES="")
    assert first.endswith("['an argument', '--and=another'] ")
    assert done == "done"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_freed_blocks_below_others_are_given_back():
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 56  # of 64 MiB
