"""The console script `hybrid-jax`: every command, its name in usage lines, the version, and help that does not wait."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import hybrid_jax
from hybrid_jax.__main__ import COMMANDS, main
from hybrid_jax.runtime.program import program

ROOT = Path(__file__).resolve().parents[1]
FOR_DEVELOPERS = {"hub"}
"""Rooms whose __main__ writes a page of the documentation."""
SLOW = ("jax", "scipy.stats", "transformers", "tensorflow_datasets", "matplotlib")
"""What takes a second or more to import."""
WITH_SUBCOMMANDS = [[name] for name in COMMANDS] + [
    ["eval", "compare"],
    ["eval", "watch"],
    ["eval", "embed"],
    ["data", "leakage"],
    ["data", "preview"],
    ["train", "plan"],
]


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/hybrid-jax", *words])
    return main()


def test_every_room_that_is_a_command_is_in_the_list():
    rooms = {path.parent.name for path in (ROOT / "hybrid_jax").glob("*/__main__.py")}
    assert rooms - FOR_DEVELOPERS == set(COMMANDS)


@pytest.mark.parametrize("words", WITH_SUBCOMMANDS, ids=" ".join)
def test_help_names_the_console_script_and_imports_nothing_slow(words: list[str]):
    code = (
        f"import sys; sys.argv = ['/bin/hybrid-jax', *{words!r}, '--help']\n"
        "from hybrid_jax.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as end: status = end.code\n"
        f"print([name for name in {SLOW!r} if name in sys.modules], status, file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ended.stderr == "[] 0\n"
    assert ended.stdout.startswith(f"usage: hybrid-jax {' '.join(words)} ")


def test_without_the_console_script_usage_names_the_module(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["/x/hybrid_jax/train/__main__.py"])
    assert program("train plan") == "python -m hybrid_jax.train plan"
    monkeypatch.setattr(sys, "argv", ["/home/hybrid-jax user/train"])
    assert program("train") == "python -m hybrid_jax.train"


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help_lists_every_command(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys):
    assert run(monkeypatch, *words) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if re.match(r"  \S", line)]
    assert listed == list(COMMANDS)


def test_the_version_is_that_of_pyproject(monkeypatch: pytest.MonkeyPatch, capsys):
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert hybrid_jax.__version__ == version("hybrid_jax") == stated
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"hybrid_jax {stated}\n"


@pytest.mark.parametrize(
    ("word", "hint"), [("trian", "did you mean train?"), ("xyzzy", f"the commands are {', '.join(COMMANDS)}")]
)
def test_a_wrong_command_is_one_line(word: str, hint: str, monkeypatch: pytest.MonkeyPatch, capsys):
    assert run(monkeypatch, word) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", f"error: no command {word!r}: {hint}\n")


def test_a_command_s_own_status_is_the_script_s():
    words = [sys.executable, "-m", "hybrid_jax", "eval", "compare", "a", "b"]  # a process: commands end theirs
    ended = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("error: ")
