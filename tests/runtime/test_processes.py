"""How processes are told of one another: what is malformed is one line, and real processes find each other."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from hybrid_jax.runtime.processes import start_distributed

ROOT = Path(__file__).resolve().parents[2]
VARIABLES = ("HYBRID_JAX_COORDINATOR", "HYBRID_JAX_NUM_PROCESSES", "HYBRID_JAX_PROCESS_ID", "HYBRID_JAX_DISTRIBUTED")
JOIN = """
import sys
from hybrid_jax.runtime.processes import start_distributed
start_distributed(sys.argv[1] if len(sys.argv) > 1 else None)
import jax
print(jax.process_index(), jax.process_count(), jax.device_count())
jax.distributed.shutdown()
"""


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_single_process_joins_nobody(environment: pytest.MonkeyPatch):
    start_distributed()
    assert jax.process_count() == 1
    assert not jax.distributed.is_initialized()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"HYBRID_JAX_PROCESS_ID": "0"}, "not HYBRID_JAX_COORDINATOR, HYBRID_JAX_NUM_PROCESSES: set all three"),
        ({"HYBRID_JAX_DISTRIBUTED": "yes"}, "HYBRID_JAX_DISTRIBUTED 'yes' is neither 'auto' nor HOST:PORT,N,I: type"),
        (
            {**dict(zip(VARIABLES, ("h:1", "2", "0", "auto"), strict=True))},
            "HYBRID_JAX_DISTRIBUTED and .* are both set",
        ),
        (dict(zip(VARIABLES[:3], ("h:1", "two", "0"), strict=True)), "HYBRID_JAX_PROCESS_ID 'h:1,two,0': 'two' is not"),
        (
            dict(zip(VARIABLES[:3], ("h:1", "2", "2"), strict=True)),
            "there is no process 2 of 2: processes count from 0",
        ),
    ],
)
def test_half_set_environments_are_refused(environment: pytest.MonkeyPatch, variables: dict[str, str], message: str):
    for name, value in variables.items():
        environment.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        start_distributed()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("node-0", "'node-0' is neither 'auto' nor HOST:PORT,N,I: type '--distributed node-0:8476,2,0' for the first"),
        ("node-0:8476,2", "is neither 'auto' nor HOST:PORT"),
        ("node-0,2,0", "is neither 'auto' nor HOST:PORT"),
        ("node-0:8476,2,x", "'x' is not a whole number: type"),
        ("node-0:8476,2,-1", "'-1' is not a whole number"),
        ("node-0:8476,2,2", "there is no process 2 of 2: processes count from 0"),
        ("node-0:8476,0,0", "there is no process 0 of 0"),
        ("node-0:99999,2,0", "there is no port 99999: choose one up to 65535"),
    ],
)
def test_malformed_options_are_refused(environment: pytest.MonkeyPatch, option: str, message: str):
    with pytest.raises(ValueError, match=message) as error:
        start_distributed(option)
    assert "\n" not in str(error.value)


def test_auto_where_there_is_no_cluster_says_what_to_type():
    words = [sys.executable, "-m", "hybrid_jax.train", "--config", "configs/demo.yaml", "--workdir", "w"]
    done = subprocess.run([*words, "--distributed", "auto"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(
        "error: --distributed auto: jax finds no TPU pod, GKE, Slurm step or Open MPI 4 here: "
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def of_option(number: int, port: int) -> tuple[list[str], dict[str, str]]:
    return [f"localhost:{port},2,{number}"], {}


def of_variable(number: int, port: int) -> tuple[list[str], dict[str, str]]:
    return [], {"HYBRID_JAX_DISTRIBUTED": f"localhost:{port},2,{number}"}


def of_slurm(number: int, port: int) -> tuple[list[str], dict[str, str]]:
    """What srun sets, on one node."""
    job = {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2", "SLURM_STEP_NUM_NODES": "1"}
    own = {"SLURM_PROCID": str(number), "SLURM_LOCALID": str(number)}
    return ["auto"], {**job, **own, "JAX_COORDINATOR_PORT": str(port)}


def of_open_mpi(number: int, port: int) -> tuple[list[str], dict[str, str]]:
    """What mpirun of Open MPI 4 sets."""
    own = {"OMPI_COMM_WORLD_RANK": str(number), "OMPI_COMM_WORLD_LOCAL_RANK": str(number)}
    job = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://127.0.0.1:34911"}
    return ["auto"], {**job, **own, "JAX_COORDINATOR_PORT": str(port)}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("way", [of_option, of_variable, of_slurm, of_open_mpi])
def test_two_processes_find_each_other(environment: pytest.MonkeyPatch, way):
    port, flags = free_port(), "--xla_force_host_platform_device_count=1"
    processes = []
    for number in range(2):
        words, variables = way(number, port)
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", JOIN, *words],
                env={**os.environ, "XLA_FLAGS": flags, **variables},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    try:
        outputs = [process.communicate(timeout=100) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert [said for said, _ in outputs] == ["0 2 2\n", "1 2 2\n"], outputs


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [0, 1])
def test_a_process_that_stays_alone_ends_with_one_line(number: int):
    alone = """
import sys
from hybrid_jax.runtime import processes
processes._TO_FIND_EACH_OTHER["this machine"] = 3
processes.start_distributed(sys.argv[1])
"""
    option = f"localhost:{free_port()},2,{number}"
    done = subprocess.run(
        [sys.executable, "-c", alone, option], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"error: --distributed {option}: the processes did not find each other (after 3 s some are not there): "
        "start all of them, and check host and port of process 0"
    )
