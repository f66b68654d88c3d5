"""One run of a sweep: training and evaluation as processes of their own, while its lease is kept; then its cost."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hybrid_jax.ablate.folder import CONFIG, COST, Cost, Plan, Run, log_lines
from hybrid_jax.data.locate import find_files
from hybrid_jax.disk.files import write_text
from hybrid_jax.runs.lease import Lease, LostError
from hybrid_jax.runtime.leave import STOPPED

POLL = 0.2
"""Seconds between looks at a child."""
PATIENCE = 30.0
"""Seconds that a child has to end after a signal."""
_BOUND = """import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the sweep's worker has ended")
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
"""Becomes the command, after asking Linux to kill it when its parent dies: a worker that is killed leaves nobody who
writes to the run's folder while another worker takes the run over."""


_ERROR = re.compile(r"error: |[\w.]+(Error|Exception)\b")
"""How our errors begin, and the last line of a traceback, which JAX may write a remark after."""


class StoppedError(RuntimeError):
    """A child was told to stop by somebody else than this process, and has saved what it did."""


class FailedError(RuntimeError):
    """A child ended with a status; the message is one line with its log."""


def commands(run: Run, plan: Plan, data_dir: Path | None) -> dict[str, list[str]]:
    """The arguments of `python` for each phase of the run."""
    config = str(run.folder / CONFIG)
    skip = ["--skip-bad-rows"] if plan.skip_bad_rows else []
    data = [] if data_dir is None else ["--data-dir", str(data_dir)]
    tasks = ",".join(plan.tasks)
    debias = ["--debias", ",".join(plan.debias), "--debias-text", *debias_files(plan)] if plan.debias else []
    return {
        "train": ["-m", "hybrid_jax.train", "--config", config, "--workdir", str(run.folder), *skip],
        "eval": ["-m", "hybrid_jax.eval", "--ckpt", str(run.folder), "--tasks", tasks, *data, *debias],
    }


def debias_files(plan: Plan) -> list[str]:
    """The files on this machine that debiasing is fitted on. Raises DataError for one that does not exist."""
    return [str(file) for part in plan.debias_text for file in find_files(part, "train")]


def do(
    run: Run,
    plan: Plan,
    data_dir: Path | None,
    lease: Lease,
    before: dict[str, float],
    watch: Callable[[str], None],
) -> Cost:
    """Trains and evaluates a run, writes its cost.json and releases its lease. Returns the cost.

    `before` are the seconds of earlier workers by phase; `watch` is called with the phase while it runs. Raises
    FailedError when a command fails, StoppedError when somebody else told it to stop, LostError when another worker has
    taken the run over, and KeyboardInterrupt when this process was told to stop; the command's process has ended then,
    and the lease is released.
    """
    spent: dict[str, float] = {}
    how = "stopped"
    try:
        for phase, arguments in commands(run, plan, data_dir).items():
            _phase(phase, arguments, run, lease, spent, watch)
        log = list(log_lines(run))
        seconds = {phase: round(before.get(phase, 0.0) + spent[phase], 1) for phase in spent}
        cost = Cost(
            seconds_train=seconds["train"],
            seconds_eval=seconds["eval"],
            pairs=sum(sum(line["query_languages"].values()) for line in log),
            tokens=sum(line["tokens"] for line in log),
            host=lease.host,
        )
        lease.beat(None, spent, now=True)  # a run that is not ours any more is finished by its new worker
        write_text(run.folder / COST, json.dumps(cost.model_dump(), indent=2) + "\n")
        how = "done"
        return cost
    except LostError:
        how = "lost"
        raise
    except FailedError:
        how = "failed"
        raise
    finally:
        if how != "lost":
            lease.release(how, spent)


def last_line(log: Path) -> str:
    """The last error that a process wrote, or else its last line: a hint of what went wrong."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR.match(line)]
    return (errors or lines or ["it wrote nothing"])[-1]


def start(arguments: Sequence[str], output: int) -> "subprocess.Popen[bytes]":
    """`python` with these arguments, as a child that ends with this process (on Linux) and writes to `output`."""
    bound = [sys.executable, "-c", _BOUND, str(os.getpid()), *arguments]
    return subprocess.Popen(bound, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)


def stop(child: "subprocess.Popen[bytes]", number: int) -> None:
    """Passes the signal on, waits for the child to end, and kills it if it does not, or at a second signal."""
    try:
        child.send_signal(number)  # at once: a terminal sends Ctrl-C to the child too, which takes the two for one
        _ended(child, PATIENCE)
    except KeyboardInterrupt:
        pass
    finally:
        child.kill()
        child.wait()


def _phase(
    phase: str,
    arguments: list[str],
    run: Run,
    lease: Lease,
    spent: dict[str, float],
    watch: Callable[[str], None],
) -> None:
    log = run.folder / f"{phase}.log"
    began = time.monotonic()
    with log.open("ab") as output:
        output.write(f"$ python {shlex.join(arguments)}\n".encode())
        output.flush()
        child = start(arguments, output.fileno())
        try:
            spent[phase] = 0.0
            lease.beat(child.pid, spent, now=True)
            while (status := child.poll()) is None:
                time.sleep(POLL)
                spent[phase] = time.monotonic() - began
                lease.beat(child.pid, spent)
                watch(phase)
        except KeyboardInterrupt as interrupt:
            stop(child, interrupt.args[0] if interrupt.args else signal.SIGINT)
            raise
        finally:
            spent[phase] = time.monotonic() - began
            if child.poll() is None:
                child.kill()
                child.wait()
    if status == STOPPED:
        raise StoppedError(f"{run.name}: {phase} was told to stop, and goes on from there")
    if status:
        ended = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        raise FailedError(f"{run.name}: {phase} {ended}, see {log}: {last_line(log)}")


def _ended(child: "subprocess.Popen[bytes]", seconds: float) -> bool:
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True
