"""Real processes of one run on this machine, as a cluster would start them."""

import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

TESTS = Path(__file__).parents[1]


@contextmanager
def several_processes(
    commands: Sequence[Sequence[str]], environments: Sequence[dict[str, str]]
) -> Iterator[list["subprocess.Popen[str]"]]:
    """Starts a command as each of the processes, with one device each; they end with the block."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    common = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=1 --xla_backend_optimization_level=0",
        "HYBRID_JAX_COORDINATOR": f"localhost:{port}",
        "HYBRID_JAX_NUM_PROCESSES": str(len(commands)),
        "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)]),
    }
    processes = [
        subprocess.Popen(
            command,
            env={**common, "HYBRID_JAX_PROCESS_ID": str(number), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number, (command, environment) in enumerate(zip(commands, environments, strict=True))
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def two_processes(
    commands: Sequence[Sequence[str]], environments: Sequence[dict[str, str]] = ({}, {})
) -> "AbstractContextManager[list[subprocess.Popen[str]]]":
    """`several_processes` of two."""
    return several_processes(commands, environments)
