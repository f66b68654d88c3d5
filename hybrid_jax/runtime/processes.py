"""Joining the processes of a run: by the option --distributed, or by the environment.

jax does the work. It finds the other processes itself on a TPU pod, on GKE, under Slurm and under Open MPI 4; elsewhere
each process is told where process 0 listens, how many there are, and which one it is.
"""

import argparse
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from threading import Timer

AUTO = "auto"
_COORDINATOR = "HYBRID_JAX_COORDINATOR"
_NUM_PROCESSES = "HYBRID_JAX_NUM_PROCESSES"
_PROCESS_ID = "HYBRID_JAX_PROCESS_ID"
_DISTRIBUTED = "HYBRID_JAX_DISTRIBUTED"
_AT_THE_END = 30
"""Seconds that a process which is done waits for the others."""
_TO_FIND_EACH_OTHER = {"this machine": 60, "several": 300}
"""Seconds in which all processes must have started: those of a cluster may begin minutes apart."""
_EXAMPLE = (
    "'--distributed node-0:8476,2,0' for the first of two processes, '--distributed node-0:8476,2,1' for the other"
)


def add_distributed(parser: argparse.ArgumentParser) -> None:
    """Adds --distributed."""
    parser.add_argument(
        "--distributed",
        metavar="HOST:PORT,N,I",
        help="one of several processes: where process 0 listens, how many there are, and which this is, from 0; 'auto' "
        "on a TPU pod, on GKE, under Slurm and Open MPI 4 (default: by the environment, docs/hosts.md)",
    )


def start_distributed(option: str | None = None) -> None:
    """Connects this process to the others of its run. Call it before jax uses a device.

    `option` is what --distributed was given. Without it, the environment says how: HYBRID_JAX_DISTRIBUTED holds the
    same text, or HYBRID_JAX_COORDINATOR, HYBRID_JAX_NUM_PROCESSES and HYBRID_JAX_PROCESS_ID hold its three parts. With
    none of them the run has a single process, and this does nothing; nor where an earlier call has connected them.

    Raises ValueError when the text is malformed, when several of these ways are used, when only some of the three are
    set, and when the processes do not find each other.
    """
    ways = {
        "--distributed": option,
        _DISTRIBUTED: os.environ.get(_DISTRIBUTED),
        f"{_COORDINATOR}, {_NUM_PROCESSES} and {_PROCESS_ID}": _from_three(),
    }
    given = {name: text for name, text in ways.items() if text is not None}
    if given and _connected():
        return
    if len(given) > 1:
        first, second, *_ = given
        raise ValueError(f"{first} and {second} are both set: leave one of them out")
    for name, text in given.items():
        _initialize(name, text)


def _connected() -> bool:
    import jax  # here, as --help is answered without it

    return jax.distributed.is_initialized()


@contextmanager
def joined(option: str | None) -> Iterator[None]:
    """Within the block, this process is connected to the others as `start_distributed` says, and ends when one fails.

    The end of the block waits for the others, 30 s at most.
    """
    start_distributed(option)
    import jax  # here, as --help is answered without it

    from hybrid_jax.runtime.peers import Peers

    peers = Peers()
    peers.watch()
    with peers.explained():
        yield
    jax.distributed.shutdown()


def _initialize(name: str, text: str) -> None:
    import jax  # here, as --help is answered without it

    from hybrid_jax.runtime.peers import HEARTBEAT

    initialize = partial(
        jax.distributed.initialize, heartbeat_timeout_seconds=HEARTBEAT, shutdown_timeout_seconds=_AT_THE_END
    )
    here = text.strip().startswith(("localhost:", "127.0.0.1:", "[::1]:"))
    waiting = _TO_FIND_EACH_OTHER["this machine" if here else "several"]
    if text != AUTO:
        address, count, number = _parts(name, text)
        initialize = partial(initialize, address, count, number)
    # jax would end this process with a C++ stack; a thread of Python's runs while it waits.
    timer = Timer(waiting, _give_up, (f"error: {name} {text}: {_lost(f'after {waiting} s some are not there')}\n",))
    timer.daemon = True
    timer.start()
    try:
        initialize(initialization_timeout=2 * waiting)
    except (RuntimeError, ValueError) as error:
        undefined = isinstance(error, ValueError) and "should be defined" in str(error)
        if "must be called before" in str(error) or (isinstance(error, ValueError) and not undefined):
            raise
        raise ValueError(f"{name} {text}: {_why(text, error)}") from None
    finally:
        timer.cancel()


def _give_up(line: str) -> None:
    os.write(2, line.encode())
    os._exit(1)


def _why(text: str, error: Exception) -> str:
    if text == AUTO and isinstance(error, ValueError):  # jax names the argument that it lacks
        return (
            "jax finds no TPU pod, GKE, Slurm step or Open MPI 4 here: start the processes with srun or mpirun, or say "
            f"in each which it is: {_EXAMPLE}"
        )
    return _lost(" ".join(str(error).split())[:200])


def _lost(reason: str) -> str:
    return f"the processes did not find each other ({reason}): start all of them, and check host and port of process 0"


def _parts(name: str, text: str) -> tuple[str, int, int]:
    """The address of process 0, how many processes there are, and which this is. Raises ValueError."""
    match = re.fullmatch(r"\s*(\S+:\d+)\s*,\s*(\S+)\s*,\s*(\S+)\s*", text)
    if match is None:
        raise ValueError(f"{name} {text!r} is neither {AUTO!r} nor HOST:PORT,N,I: type {_EXAMPLE}")
    address, count, number = match[1], *(_whole_number(name, text, part) for part in match.group(2, 3))
    if not 0 < int(address.rpartition(":")[2]) < 2**16:
        raise ValueError(f"{name} {text!r}: there is no port {address.rpartition(':')[2]}: choose one up to 65535")
    if number >= count:
        raise ValueError(f"{name} {text!r}: there is no process {number} of {count}: processes count from 0")
    return address, count, number


def _whole_number(name: str, text: str, part: str) -> int:
    if not part.isdecimal():
        raise ValueError(f"{name} {text!r}: {part!r} is not a whole number: type {_EXAMPLE}")
    return int(part)


def _from_three() -> str | None:
    """What the three variables say, as one text; None if none of them is set."""
    names = (_COORDINATOR, _NUM_PROCESSES, _PROCESS_ID)
    present = [name for name in names if name in os.environ]
    if present and len(present) < 3:
        missing = [name for name in names if name not in present]
        raise ValueError(f"{', '.join(present)} set but not {', '.join(missing)}: set all three, or none")
    return ",".join(os.environ[name] for name in names) if present else None
