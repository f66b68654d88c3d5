"""docs/tried.md prints what it says; and a page that says something else is noticed."""

import os
import subprocess
import sys
from pathlib import Path

from support.replay import Command, agrees, commands

ROOT = Path(__file__).resolve().parents[1]
REPLAY = ROOT / "tests" / "support" / "replay.py"


def replay(page: Path, folder: Path) -> "subprocess.CompletedProcess[str]":
    # One device and no token, as a user has it at first.
    environment = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "HF_TOKEN")}
    environment |= {
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
    }
    command = [sys.executable, str(REPLAY), str(page), str(folder)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)


def test_every_command_prints_what_the_page_says(tmp_path: Path):
    done = replay(ROOT / "docs" / "tried.md", tmp_path)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


def test_a_page_that_is_wrong_is_noticed(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text(
        '```yaml title="a.yaml"\nstepz: 3\n```\n```console\n$ hybrid-jax --version\nhybrid_jax 9.9\n'
        "$ hybrid-jax train --config a.yaml --workdir run\nerror: a.yaml: unknown field stepz: did you mean steps…?\n"
        "$ echo error: I am not one\nerror: …\n```\n"
    )
    done = replay(page, tmp_path)
    assert done.returncode == 1
    version, no_error = done.stdout.split("\n\n")
    assert version.startswith("$ hybrid-jax --version\nstatus 0\n")
    assert "-hybrid_jax 9.9\n+hybrid_jax " in version
    assert no_error.startswith("$ echo error: I am not one\nstatus 0")  # prints an error and ends as if there were none


def test_dots_stand_for_what_varies():
    assert agrees("a … c\n", "a b c\n")
    assert agrees("a\n…\nz\n", "a\nb\nc\nz\n")
    assert agrees("a\n…\nz\n", "a\nz\n")
    assert not agrees("a\n…\nz\n", "a\nb\n")
    assert not agrees("a … c\n", "a\nb c\n")
    assert not agrees("a.c\n", "abc\n")
    assert not agrees("", "warning: something\n")


def test_a_page_is_read_as_files_and_commands():
    page = 'x\n```json title="a/b.json"\n{}\n```\n```console\n$ one 1\nline\n\n$ two\n```\n```console\n$ three\n```\n'
    assert list(commands(page)) == [
        ("a/b.json", "{}\n"),
        Command("one 1", "line\n"),
        Command("two", ""),
        Command("three", ""),
    ]
