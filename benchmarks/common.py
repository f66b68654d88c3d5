"""Child processes that take turns, their peak memory, medians, ratios with spread, and the header of a table."""

import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeVar

POLL_SECONDS = 0.02
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""An environment in which glibc's malloc takes huge pages; `hybrid_jax.train` and `eval` set it themselves."""
LOG_COMPILES = {"JAX_LOG_COMPILES": "1"}
"""An environment in which jax logs what it compiles."""
START = "BENCHMARK_START"
"""An environment variable of every child: the time at which it was started."""
K = TypeVar("K")
T = TypeVar("T")


class Spread(NamedTuple):
    """A median with the smallest and the largest value."""

    median: float
    low: float
    high: float


class Finished(NamedTuple):
    """A child that has ended: its exit status, output (stdout and stderr), seconds by the clock and peak GiB."""

    status: int
    output: str
    seconds: float
    peak_gib: float


def spread(values: Sequence[float]) -> Spread:
    """Returns the median and range of values; raises ValueError without any."""
    if not values:
        raise ValueError("no values were measured: give the program more steps or rounds")
    return Spread(statistics.median(values), min(values), max(values))


def ratio(peer: Sequence[float], ours: Sequence[float]) -> Spread:
    """Returns how often ours fits in the peer's, turn by turn (seconds or GiB: above 1, ours is the smaller)."""
    if len(peer) != len(ours):
        raise ValueError(f"{len(peer)} turns of the peer, {len(ours)} of ours: both take every turn")
    return spread([a / b for a, b in zip(peer, ours, strict=True)])


def peak_gib(pid: int | str) -> float | None:
    """Returns the peak resident memory of a running process ("self": this one) in GiB, or None once it has ended.

    VmHWM, since getrusage's ru_maxrss survives exec and so begins at the parent's size.
    """
    try:
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return None
    return int(peak[1]) / 2**20 if peak else None


def run_child(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] = MappingProxyType({}),
    watch: Callable[[float], None] = lambda seconds: None,
) -> Finished:
    """Runs a command to its end; `watch` gets the seconds since its start, every 20 ms.

    The peak is the child's own: processes that it starts are not counted.
    """
    start, peak = time.perf_counter(), 0.0
    with tempfile.TemporaryFile() as log:
        with subprocess.Popen(
            command, env={**os.environ, START: str(time.time()), **environment}, stdout=log, stderr=subprocess.STDOUT
        ) as child:
            while child.poll() is None:
                peak = max(peak, peak_gib(child.pid) or 0.0)
                watch(time.perf_counter() - start)
                time.sleep(POLL_SECONDS)
        seconds = time.perf_counter() - start
        log.seek(0)
        return Finished(child.returncode, log.read().decode(errors="replace"), seconds, peak)


def take_turns(programs: Mapping[K, Callable[[], T]], rounds: int) -> dict[K, list[T]]:
    """Runs every program once a round (A B A B …), so that other load slows all; {name: [result of each round]}."""
    results: dict[K, list[T]] = {name: [] for name in programs}
    for turn in range(rounds):
        for name, program in programs.items():
            results[name].append(program())
            print(f"  turn {turn + 1}/{rounds} {name}: {results[name][-1]}", flush=True)
    return results


def machine() -> dict[str, str]:
    """Returns what the figures depend on: the CPU, its cores, versions, commit and time."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    facts = {
        "cpu": cpu[1] if cpu else platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "python": platform.python_version(),
        "commit": commit.stdout.strip() or "unknown",
        "time": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
    }
    for package in ("jax", "jaxlib", "torch", "sentence-transformers", "transformers"):
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    return facts


def compiled_programs(output: str, function: str) -> int:
    """Returns how often jax compiled a function, or read it from its cache, in a child with LOG_COMPILES."""
    return len(re.findall(rf"Compiling jit\({function}\)", output))


def compare(name: str, own: Sequence[tuple[float, float]], peer: Sequence[tuple[float, float]]) -> str:
    """Returns a line: ratios of speed and memory, with their spread, of turns (seconds, GiB) of ours and the peer's."""
    speed = ratio([seconds for seconds, _ in peer], [seconds for seconds, _ in own])
    memory = ratio([gib for _, gib in own], [gib for _, gib in peer])
    return (
        f"{name}: {speed.median:.2f} x the speed ({speed.low:.2f}-{speed.high:.2f}),"
        f" {memory.median:.2f} x the peak memory ({memory.low:.2f}-{memory.high:.2f})"
    )


def write_result(
    out: Path, name: str, header: Mapping[str, str], settings: Mapping[str, object], turns: object
) -> None:
    """Writes the turns of a benchmark, and what they depend on, as `out`/NAME.json."""
    out.mkdir(parents=True, exist_ok=True)
    result = {"machine": header, "settings": settings, "turns": turns}
    (out / f"{name}.json").write_text(json.dumps(result, indent=1, default=str))


def last_json(output: str) -> dict:
    """Returns the last line of a child's output that is a JSON object; raises ValueError with the output's end."""
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            return json.loads(line)
    raise ValueError(f"the program printed no result; it ended with:\n{output[-2000:]}")


def python(*arguments: str) -> list[str]:
    """Returns the command that runs this Python with these arguments."""
    return [sys.executable, *arguments]
