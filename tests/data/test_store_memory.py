"""A store is written in memory that grows by flat arrays, not by Python objects; and the parts that make it so."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hybrid_jax.data.digests import DigestNumbers
from hybrid_jax.data.on_disk import Strings, writing

ROOT = Path(__file__).parents[2]
WRITE = """
import re, sys
from pathlib import Path
from hybrid_jax.data.records import Row
from hybrid_jax.data.sources import BadRows, without_duplicates
from hybrid_jax.data.store_writer import write_store

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

def write(name, count):
    def rows():
        for i in range(count):
            yield Row(f"r{i}", "en", f"query {i}", f"passage {i}", where=f"f:{i}")
        peaks.append(peak())
    write_store(without_duplicates(rows(), BadRows(False)), Path(sys.argv[1]) / name, dict)
    peaks.append(peak())

peaks = []
write("small", 1000)  # loads every library and its buffers
write("large", int(sys.argv[2]))
print(*((after - peaks[1]) * 1024 / int(sys.argv[2]) for after in peaks[2:]))
"""
"""Prints by how many bytes a row its peak memory grows over that of a small store: while rows are read, and in all."""


def test_memory_of_a_build_grows_by_flat_arrays_alone(tmp_path: Path):
    """By 4 digests and 2 keys for each row, and at the end by what sorts and links them.

    A set of digests as `bytes` would add 80 while rows are read; all sets, dicts and lists of before made it 1,000.
    """
    command = [sys.executable, "-c", WRITE, str(tmp_path), "60000"]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    reading, whole = map(float, output.split())
    assert 80 < reading < 200
    assert 100 < whole < 260


@given(st.lists(st.integers(0, 3000), max_size=400), st.integers(0, 2000))
def test_strings_are_numbered_as_a_dict_does(drawn: list[int], more: int):
    """Also while the table grows, from 1,024 slots."""
    numbers, expected = DigestNumbers(), dict[int, int]()
    for value in [*drawn, *range(more), *drawn]:
        is_new = value not in expected
        number = expected.setdefault(value, len(expected))
        assert numbers.add(b"%d" % value) == (number, is_new)
    assert len(numbers) == len(expected)


def test_columns_of_no_one_and_many_values(tmp_path: Path):
    words = ["", "ünï", "", "a" * 70_000, "\udcff"]
    for count in (0, 1, 5, 20_000):
        folder = tmp_path / str(count)
        folder.mkdir()
        with writing(folder) as columns:
            numbers, names = columns.array("numbers", np.int32), columns.strings("names")
            for i in range(count):
                numbers.add(np.array([i, -i], np.int32).data)
                names.add(words[i % 5].encode(errors="surrogateescape"))
        assert np.load(folder / "numbers.npy").tolist() == [value for i in range(count) for value in (i, -i)]
        assert isinstance(np.load(folder / "numbers.npy", mmap_mode="r"), np.memmap)
        strings = Strings(folder, "names")
        assert len(strings) == count
        assert all(strings[i] == words[i % 5] for i in range(0, count, 7))
