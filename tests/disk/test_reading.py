"""Reads that fail, in earnest: Linux refuses to read address 0 of a process' memory with EIO."""

import errno
import sys
import threading
import time
from pathlib import Path

import pytest

from hybrid_jax.data.jsonl import read_objects
from hybrid_jax.data.records import DataError
from hybrid_jax.disk import reading
from hybrid_jax.disk.files import sha256_of
from hybrid_jax.disk.reading import open_to_read

FAILING = Path("/proc/self/mem")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="no file that cannot be read")


def fail(error: DataError) -> None:
    raise error


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PAUSES", (0.1, 0.2, 0.4))


def becomes(link: Path, target: Path, seconds: float) -> threading.Thread:
    """Lets the link name another file after so many seconds, as a server does that is there again."""

    def replace() -> None:
        time.sleep(seconds)
        new = link.with_suffix(".new")
        new.symlink_to(target)
        new.replace(link)

    thread = threading.Thread(target=replace)
    thread.start()
    return thread


@pytest.mark.usefixtures("quick")
def test_a_read_that_fails_for_a_while_is_tried_again(tmp_path: Path):
    good, link = tmp_path / "good.jsonl", tmp_path / "rows.jsonl"
    good.write_text('{"id": 1}\n{"id": 2}\n', encoding="utf-8")
    link.symlink_to(FAILING)
    thread = becomes(link, good, 0.25)
    assert [record for _, record in read_objects(link, fail)] == [{"id": 1}, {"id": 2}]
    thread.join()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("read", [lambda path: list(read_objects(path, fail)), sha256_of], ids=["rows", "hash"])
def test_a_read_that_keeps_failing_ends_with_one_line(read, tmp_path: Path):
    (tmp_path / "rows.jsonl").symlink_to(FAILING)
    began = time.monotonic()
    with pytest.raises((OSError, DataError)) as error:
        read(tmp_path / "rows.jsonl")
    assert 0.7 <= time.monotonic() - began < 5
    said = str(error.value)
    assert "rows.jsonl cannot be read (Input/output error, 4 times in 0.7 s): look at its disk or network, and" in said
    assert "\n" not in said


def test_a_missing_file_is_not_tried_again(tmp_path: Path):
    began = time.monotonic()
    with pytest.raises(FileNotFoundError):
        open_to_read(tmp_path / "missing")
    with pytest.raises(IsADirectoryError):
        open_to_read(tmp_path).read()
    assert time.monotonic() - began < 0.4


@pytest.mark.usefixtures("quick")
def test_a_file_that_is_replaced_on_the_way_is_not_read_on(tmp_path: Path):
    path = tmp_path / "rows"
    path.write_bytes(b"a" * 2**20)
    raw = open_to_read(path).raw
    assert raw.read(10) == b"a" * 10
    path.unlink()
    path.write_bytes(b"b" * 2**19)
    raw._close_handle()  # pyright: ignore[reportAttributeAccessIssue]  # as after a read that failed
    with pytest.raises(OSError, match="was replaced while it was read: give the same command again"):
        raw.read(10)


def test_it_reads_and_seeks_as_a_file_does(tmp_path: Path):
    path = tmp_path / "bytes"
    content = bytes(range(256)) * 5000
    path.write_bytes(content)
    with open_to_read(path) as file, path.open("rb") as plain:
        for action in (lambda f: f.read(3), lambda f: f.seek(700_000), lambda f: f.readline(), lambda f: f.tell()):
            assert action(file) == action(plain)
        for whence, offset in ((1, -50), (2, -9), (0, 5)):
            assert file.seek(offset, whence) == plain.seek(offset, whence)
            assert file.read() == plain.read()
    assert file.closed
    assert errno.EIO in reading._PASSING
