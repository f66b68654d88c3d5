"""Runs the commands of a page, and compares what they print with what the page says: docs/tried.md.

    PYTHONPATH=. python tests/support/replay.py docs/tried.md [FOLDER]

A block ```LANGUAGE title="NAME" is a file; in a block ```console a line that begins with "$ " is a command, and the
lines after it are what it prints, standard error included. "…" stands for anything within a line, or alone on a line
for any lines. A command ends with status 0, or prints an error. All run in one folder, in the order of the page.
`hybrid-jax` is forked from a process that has imported it, which takes a tenth of the time.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from difflib import unified_diff
from pathlib import Path
from typing import NamedTuple

BLOCK = re.compile(r'^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)
ENVIRONMENT = {"COLUMNS": "120", "GLIBC_TUNABLES": "", "LINES": "40", "NO_COLOR": "1", "TERM": "dumb"}
"""GLIBC_TUNABLES keeps a command from starting itself again, without what was imported."""


REFUSAL = r"^error: |^hybrid-jax \w+: error: |Unrecognized options"
"""How our errors, argparse's and tyro's begin."""


class Command(NamedTuple):
    """A line that is typed, and what is printed after it."""

    words: str
    expected: str


def commands(page: str) -> Iterator[Command | tuple[str, str]]:
    """The commands of a page and its files, as (name, text), in their order."""
    for block in BLOCK.finditer(page):
        if block["title"]:
            yield block["title"], block["text"]
        elif block["language"] == "console":
            for part in re.split(r"^\$ ", block["text"], flags=re.MULTILINE)[1:]:
                words, _, expected = part.partition("\n")
                yield Command(words, expected.rstrip("\n") + "\n" if expected.strip() else "")


def agrees(expected: str, actual: str) -> bool:
    """Whether the text is the expected one, where "…" stands for anything."""
    lines = [
        r"(?:.*\n)*?" if line.strip() == "…" else ".*?".join(map(re.escape, line.split("…"))) + r"\n"
        for line in expected.splitlines()
    ]
    return re.fullmatch("".join(lines), actual) is not None


def replay(page: str, folder: Path) -> Iterator[str]:
    """What differs, a text for each command that does not print what the page says. Changes to `folder`."""
    os.chdir(folder)
    os.environ.update(ENVIRONMENT)
    for step in commands(page):
        if not isinstance(step, Command):
            name, text = step
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text(text, encoding="utf-8")
            continue
        status, printed = _run(step.words)
        refused = re.search(REFUSAL, printed, re.MULTILINE) is not None
        if agrees(step.expected, printed) and (status != 0) == refused:
            continue
        lines = unified_diff(step.expected.splitlines(), printed.splitlines(), "the page", "now", lineterm="")
        yield "\n".join([f"$ {step.words}", f"status {status}", *lines])


def _run(words: str) -> tuple[int, str]:
    """The exit status, and standard output and error as they were written."""
    program, *arguments = shlex.split(words, comments=True)
    if program != "hybrid-jax":
        ended = subprocess.run(["bash", "-c", words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        return ended.returncode, ended.stdout.decode()
    target = None
    if ">" in arguments:
        arguments, (target,) = arguments[: arguments.index(">")], arguments[arguments.index(">") + 1 :]
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            _become(arguments, output.fileno(), target)
        _, ended = os.waitpid(child, 0)
        output.seek(0)
        return os.waitstatus_to_exitcode(ended), output.read().decode()


def _become(arguments: list[str], output: int, target: str | None) -> None:
    """Runs the console script in this process, and ends it."""
    from hybrid_jax.__main__ import main

    os.dup2(output, 2)
    os.dup2(output if target is None else os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), 1)
    sys.stdout.reconfigure(line_buffering=True)  # pyright: ignore[reportAttributeAccessIssue]
    sys.argv = ["hybrid-jax", *arguments]
    status: object = 1
    try:
        status = main()
    except SystemExit as end:
        status = end.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else int(status is not None))


def _main() -> int:
    page = Path(sys.argv[1]).read_text(encoding="utf-8")
    # What the commands import, and what starts no thread.
    import hybrid_jax.config
    import hybrid_jax.embed.load
    import hybrid_jax.eval.job
    import hybrid_jax.export.folder
    import hybrid_jax.train.plan  # noqa: F401

    if len(sys.argv) > 2:
        differences = list(replay(page, Path(sys.argv[2])))
    else:
        folder = tempfile.mkdtemp()  # a TemporaryDirectory would be removed by the first child that ends
        differences = list(replay(page, Path(folder)))
        os.chdir("/")
        shutil.rmtree(folder)
    sys.stdout.write("\n\n".join(differences) + "\n" * bool(differences))
    return len(differences) > 0


if __name__ == "__main__":
    sys.exit(_main())
