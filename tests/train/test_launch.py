"""The launcher of processes on this machine, with short programs in place of training: it ends, and ends last."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

LAUNCH = Path(__file__).resolve().parents[2] / "launch" / "local_multiprocess.sh"
STUBBORN = "trap '' TERM"
SAVES = "trap 'exit 75' TERM USR1"
FAILS = "exit 3"


def launch(folder: Path, first: str, second: str, patience: int) -> "subprocess.Popen[str]":
    """Two processes, of which 0 does what `first` says and then waits, and 1 `second`; each notes its id."""
    program = folder / "program"
    wait = "while :; do sleep 0.1; done"
    program.write_text(f"""#!/usr/bin/env bash
[[ $1 == -c ]] && echo 1 && exit # asked for a free port
number="${{@: -1}}" # localhost:1,2,NUMBER
number="${{number##*,}}"
echo $$ >{folder}/$number
if ((number == 0)); then {first}; else {second}; fi
touch {folder}/$number.ready
{wait}
""")
    program.chmod(0o755)
    environment = {**os.environ, "PYTHON": str(program), "LOGS": str(folder), "PATIENCE": str(patience)}
    # A shell does not take a signal that is ignored when it starts, as SIGINT is in jobs in the background.
    heeding = ["env", "--default-signal=INT", str(LAUNCH), "2", "--x"]
    return subprocess.Popen(heeding, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("first", "second", "number", "status", "seconds"),
    [
        (SAVES, SAVES, signal.SIGTERM, 75, 3),
        (SAVES, SAVES, signal.SIGUSR1, 75, 3),
        (SAVES, SAVES, signal.SIGINT, 75, 3),
        (STUBBORN, SAVES, signal.SIGTERM, 75, 6),  # killed after 2 s; the first status counts
        (STUBBORN, STUBBORN, signal.SIGTERM, 137, 6),
        (SAVES, FAILS, None, 3, 3),
        (STUBBORN, FAILS, None, 3, 6),
    ],
)
def test_it_passes_signals_on_escalates_and_ends_after_its_processes(
    tmp_path: Path, first: str, second: str, number: int | None, status: int, seconds: float
):
    launcher = launch(tmp_path, first, second, patience=2)
    try:
        until = time.monotonic() + 10
        while number is not None and not all((tmp_path / f"{n}.ready").exists() for n in range(2)):
            assert time.monotonic() < until
            time.sleep(0.02)
        began = time.monotonic()
        if number is not None:
            launcher.send_signal(number)
        _, said = launcher.communicate(timeout=30)
        assert time.monotonic() - began < seconds
    finally:
        launcher.kill()
        for note in (tmp_path / str(n) for n in range(2)):
            if note.exists() and Path(f"/proc/{note.read_text().strip()}").exists():
                os.kill(int(note.read_text()), signal.SIGKILL)
        launcher.communicate()
    assert launcher.returncode == status, said
    assert ("ended with status" in said) == (status != 75)
    for n in range(2):
        assert not Path(f"/proc/{(tmp_path / str(n)).read_text().strip()}").exists()
