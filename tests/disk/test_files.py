"""A file or folder is complete or as it was before, whatever interrupts its writing."""

import hashlib
import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hybrid_jax.disk.files import (
    atomic_file,
    atomic_files,
    atomic_folder,
    nearest_folder,
    sha256_of,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def interrupt(written: int):
    assert written
    raise KeyboardInterrupt


def test_a_file_appears_when_the_block_ends(tmp_path: Path):
    path = tmp_path / "new" / "file"
    with atomic_file(path) as stream:
        stream.write(b"content")
        stream.flush()
        assert not path.exists()
    assert path.read_bytes() == b"content"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert names(path.parent) == ["file"]


def test_an_interrupted_block_leaves_the_file_as_it_was(tmp_path: Path):
    path = tmp_path / "file"
    write_text(path, "before")
    with pytest.raises(KeyboardInterrupt), atomic_file(path) as stream:
        interrupt(stream.write(b"half"))
    assert path.read_text() == "before"
    assert names(tmp_path) == ["file"]


def test_text_is_written_as_utf8_without_changing_its_line_ends(tmp_path: Path):
    write_text(tmp_path / "file", "größe\r\n")
    assert (tmp_path / "file").read_bytes() == "größe\r\n".encode()


def test_several_files_are_written_or_none(tmp_path: Path):
    atomic_files(tmp_path, {"a": b"1", "b": b"2"})
    assert [(tmp_path / name).read_bytes() for name in "ab"] == [b"1", b"2"]
    with pytest.raises(
        OSError, match=r"^\[Errno \d+\] cannot write .*no/c: .*; make room or name another folder with --out$"
    ):
        atomic_files(tmp_path, {"a": b"new", "no/c": b"3"}, "with --out")
    assert (tmp_path / "a").read_bytes() == b"1"
    assert names(tmp_path) == ["a", "b"]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        OSError, match=r"^\[Errno \d+\] cannot write .*file/inside: [^\n]*; make room or name another folder$"
    ):
        write_text(tmp_path / "file" / "inside", "text")


def test_a_folder_appears_when_the_block_ends_or_not_at_all(tmp_path: Path):
    with atomic_folder(tmp_path / "new" / "folder") as part:
        (part / "file").write_text("content")
        assert not (tmp_path / "new" / "folder").exists()
    assert names(tmp_path / "new") == ["folder"]
    assert names(tmp_path / "new" / "folder") == ["file"]
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "other") as part:
        interrupt((part / "file").write_text("half"))
    assert names(tmp_path) == ["new"]


def test_the_folder_that_one_is_in_is_made_beside_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    with atomic_folder(Path()) as part:
        assert part.parent == tmp_path
        (part / "file").write_text("content")
    assert names(tmp_path) == ["here"]
    assert names(here) == ["file"]


def test_of_two_processes_that_write_a_folder_the_first_wins(tmp_path: Path):
    with atomic_folder(tmp_path / "folder") as slow:
        (slow / "file").write_text("slow")
        with atomic_folder(tmp_path / "folder") as fast:
            (fast / "file").write_text("fast")
    assert (tmp_path / "folder" / "file").read_text() == "fast"
    assert names(tmp_path) == ["folder"]


def test_a_folder_does_not_replace_a_file(tmp_path: Path):
    (tmp_path / "taken").write_text("file")
    with pytest.raises(OSError), atomic_folder(tmp_path / "taken"):
        pass
    assert (tmp_path / "taken").read_text() == "file"


def test_the_hash_is_that_of_the_content(tmp_path: Path):
    content = b"x" * 3_000_000
    (tmp_path / "file").write_bytes(content)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_what_a_killed_process_left_is_swept_and_what_is_being_made_is_not(tmp_path: Path):
    code = "import sys, os, pathlib; from hybrid_jax.disk.files import atomic_folder\n"
    code += "with atomic_folder(pathlib.Path(sys.argv[1])) as part: (part / 'x').write_text('x'); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=False).returncode == 9
    (left,) = tmp_path.iterdir()
    with atomic_folder(tmp_path / "a") as young:  # the one that was left may be another's, and not be locked yet
        assert left.is_dir()
        for folder in (left, young):
            os.utime(folder, (0, 0))
        with atomic_folder(tmp_path / "a"):
            assert not left.exists()
            assert young.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_another_host_is_making_is_not_swept_before_it_is_days_old(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "another")
    with atomic_folder(tmp_path / "a") as part:
        left = tmp_path / f"{part.name}x"
    monkeypatch.undo()
    shutil.rmtree(tmp_path / "a")
    left.mkdir()  # not locked, as far as can be seen here
    for hours, swept in ((47, False), (49, True)):
        then = time.time() - 3600 * hours
        os.utime(left, (then, then))
        with atomic_folder(tmp_path / "b"):
            pass
        with atomic_folder(tmp_path / "a"):
            assert left.exists() != swept
        shutil.rmtree(tmp_path / "a")


def test_the_nearest_folder_is_named(tmp_path: Path):
    (tmp_path / "first").mkdir()
    (tmp_path / "firts.txt").touch()
    assert nearest_folder(tmp_path / "firts") == f" (did you mean {tmp_path / 'first'}?)"
    assert nearest_folder(tmp_path / "last-of-all") == ""
    assert nearest_folder(tmp_path / "nowhere" / "first") == ""
