"""Real workers on a sweep of tiny runs: a kill, a stop, a failure, and a folder that has another plan."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from hybrid_jax.ablate.__main__ import main
from hybrid_jax.ablate.folder import log_lines, read_plan, runs, steps_done
from hybrid_jax.ablate.phases import last_line

STEPS = 40
COMMAND = [sys.executable, "-m", "hybrid_jax.ablate"]


@pytest.fixture
def config(tiny_run, tmp_path: Path) -> Path:
    """The config of a tiny run, slow enough to be stopped on its way: it writes a checkpoint at every step."""
    content = yaml.safe_load(tiny_run.yaml) | {"steps": STEPS, "heldout_every": 0, "log_every": 1000}
    content["checkpoint"] |= {"every": 1, "best_metric": "loss", "keep": 1}
    content["data"] |= {"heldout_pool": 0}
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.fixture
def pool(tmp_path: Path) -> str:
    """A task of two questions."""
    folder = tmp_path / "pool"
    (folder / "qrels").mkdir(parents=True)
    texts = {"corpus": [("d1", "a town", "en"), ("d2", "die Stadt", "de")], "queries": [("q1", "a river?", "en")]}
    for name, rows in texts.items():
        lines = (json.dumps({"_id": key, "text": text, "lang": lang}) for key, text, lang in rows)
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t1\n", encoding="utf-8")
    return f"pooled:{folder}"


class Workers:
    """Starts workers as processes, which end with the test."""

    def __init__(self, sweep: Path, config: Path, task: str):
        self.sweep, self.processes = sweep, []
        self.options = ["--workdir", str(sweep), "--config", str(config), "--tasks", task]
        self.options += ["--grid", "mixture.monolingual_fraction=0,1"]

    def start(self, *more: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [*COMMAND, *self.options, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.processes.append(process)
        return process

    def wait_for_steps(self, run: Path, steps: int) -> None:
        """Returns when the run has logged so many steps, with more to do."""
        until = time.monotonic() + 120
        while not (run / "metrics.jsonl").exists() or len((run / "metrics.jsonl").read_bytes().splitlines()) < steps:
            assert time.monotonic() < until, "no step was logged"
            assert self.processes[-1].poll() is None, self.processes[-1].communicate()
            time.sleep(0.02)


@pytest.fixture
def workers(tmp_path: Path, config: Path, pool: str) -> Iterator[Workers]:
    started = Workers(tmp_path / "sweep", config, pool)
    yield started
    for process in started.processes:
        process.kill()
        process.communicate()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def kill(worker: "subprocess.Popen[str]", lease: Path) -> None:
    """Kills a worker; its training, which the lease names, ends with it."""
    worker.kill()
    worker.wait()
    child = json.loads(lease.read_text())["child"]
    until = time.monotonic() + 5
    while alive(child) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(child)


@pytest.mark.skipif(sys.platform != "linux", reason="a child ends with its killed worker on Linux only")
@pytest.mark.timeout(300)
def test_two_workers_share_a_sweep_and_a_third_finishes_what_they_began_before_they_were_killed(
    workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    first_run, second_run = (workers.sweep / "runs" / f"alpha={alpha}" / "seed-3" for alpha in (0, 1))
    first = workers.start()
    workers.wait_for_steps(first_run, 5)
    second = workers.start()
    kill(first, workers.sweep / "leases" / "alpha=0.seed-3.1.json")
    assert 5 <= len((first_run / "metrics.jsonl").read_bytes().splitlines()) < STEPS
    workers.wait_for_steps(second_run, 5)
    kill(second, workers.sweep / "leases" / "alpha=1.seed-3.1.json")
    assert 5 <= len((second_run / "metrics.jsonl").read_bytes().splitlines()) < STEPS

    survivor = workers.start()
    until = time.monotonic() + 60
    while not (workers.sweep / "leases" / "alpha=1.seed-3.2.json").exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    options = [*workers.options, "--arms", "x-x", "--baseline", "alpha=0", "--page-only"]
    assert ablate(monkeypatch, *options) == 0  # one more arm, which the worker does as well
    assert "of 3 runs are finished" in capsys.readouterr().out
    printed, errors = survivor.communicate(timeout=200)
    assert survivor.returncode == 0, errors
    assert "the sweep has changed: 3 runs, by python -m hybrid_jax.ablate --workdir" in printed
    assert "3 of 3 runs are finished" in printed
    third_run = workers.sweep / "runs" / "x-x" / "seed-3"
    assert f"hybrid_jax.eval compare alpha:0={first_run} alpha:1={second_run} x-x={third_run}" in printed
    page = workers.sweep / "page" / "index.html"
    assert printed.splitlines()[-1] == f"page: {page}"
    assert "all runs evaluated" in page.read_text(encoding="utf-8")
    reported = list(csv.DictReader((page.parent / "runs.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["arm"] for row in reported} == {"alpha=0", "alpha=1", "x-x"}
    plan = read_plan(workers.sweep)
    assert plan is not None
    for run in runs(workers.sweep, plan):
        steps = [line["step"] for line in log_lines(run)]
        assert steps == list(range(STEPS))
        report = json.loads((run.folder / "eval" / "report.json").read_text())
        [key] = report["tasks"]
        maps = {
            row["setting"]: float(row["value"])
            for row in reported
            if (row["arm"], row["seed"], row["task"], row["metric"]) == (run.arm, str(run.seed), key, "map")
        }
        assert maps == {setting: report["tasks"][key]["map"][setting] for setting in maps}
        assert "multilingual" in maps
        cost = json.loads((run.folder / "cost.json").read_text())
        assert cost["pairs"] == STEPS * 8
        assert cost["tokens"] == sum(line["tokens"] for line in log_lines(run)) > cost["pairs"] * 2
        assert cost["seconds_train"] > 0 < cost["seconds_eval"]
    for run in (first_run, second_run):
        log = (run / "train.log").read_text()
        assert log.count("$ python") == 2
        assert f"resuming {run} at step " in log
    ended = {path.name: json.loads(path.read_text())["released"] for path in (workers.sweep / "leases").iterdir()}
    names = [f"alpha={alpha}.seed-3.{attempt}.json" for alpha in (0, 1) for attempt in (1, 2)]
    assert ended == dict(zip(names, [None, "done"] * 2, strict=True)) | {"x-x.seed-3.1.json": "done"}

    # As if the second run were still to do: the page of the rest names it.
    for name in ("cost.json", "eval", "train.log"):
        (second_run / name).rename(tmp_path / name)
    assert ablate(monkeypatch, "--workdir", str(workers.sweep), "--page-only") == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"page: {page}"
    assert "1 of 3 runs is missing: alpha=1 seed 3 (not started)" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_worker_ends_its_training_and_gives_the_run_back(workers: Workers, number: signal.Signals):
    run, lease = (workers.sweep / name for name in ("runs/alpha=0/seed-3", "leases/alpha=0.seed-3.1.json"))
    worker = workers.start()
    workers.wait_for_steps(run, 3)
    child = json.loads(lease.read_text())["child"]
    worker.send_signal(number)
    _, errors = worker.communicate(timeout=30)
    assert worker.returncode == 128 + number
    assert f"--workdir {workers.sweep} alone, goes on" in errors.splitlines()[-1]
    assert not alive(child)
    assert json.loads(lease.read_text())["released"] == "stopped"
    assert re.search(r"stopped after \d+ of 40 steps, all of them saved", (run / "train.log").read_text())


def test_training_that_somebody_else_stops_goes_on(workers: Workers):
    run, lease = (workers.sweep / name for name in ("runs/alpha=0/seed-3", "leases/alpha=0.seed-3.1.json"))
    worker = workers.start()
    workers.wait_for_steps(run, 3)
    os.kill(json.loads(lease.read_text())["child"], signal.SIGUSR1)  # as Slurm does before a time limit
    until = time.monotonic() + 100
    while f"resuming {run} at step " not in (run / "train.log").read_text():
        assert time.monotonic() < until
        assert worker.poll() is None, worker.communicate()
        time.sleep(0.05)
    worker.kill()
    printed, errors = worker.communicate(timeout=10)
    assert "alpha=0 seed-3: train was told to stop, and goes on from there" in printed + errors
    assert json.loads(lease.read_text())["released"] == "stopped"


def test_a_failing_run_is_named_with_its_log_and_the_others_go_on(workers: Workers):
    # Both fail: that a file of the data is missing is found when training starts.
    worker = workers.start("--data.datasets.0.path", "nowhere.jsonl", "--tasks", "demo")
    printed, errors = worker.communicate(timeout=100)
    assert worker.returncode == 1
    for alpha in (0, 1):
        log = workers.sweep / "runs" / f"alpha={alpha}" / "seed-3" / "train.log"
        assert f"error: alpha={alpha} seed-3: train ended with status 1, see {log}: error: " in errors
    assert "0 of 2 runs are finished" in printed
    assert "missing: alpha=0 seed-3, alpha=1 seed-3" in printed


def ablate(monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    """`main` in this process, whose handlers of signals stay as they were."""
    monkeypatch.setattr(sys, "argv", ["ablate", *options])
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    return main()


def test_a_folder_with_another_plan_is_refused_and_names_the_fields(
    workers: Workers, config: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    from hybrid_jax.ablate.plan import make_plan, write
    from hybrid_jax.ablate.request import request

    grid = {"mixture.monolingual_fraction": [0, 1]}
    write(workers.sweep, make_plan(request({"config": config, "grid": grid}, "test"), "command"))
    (workers.sweep / ".sweep.json.x1y2").touch()  # what a kill may leave, or another worker is writing
    before = sorted(workers.sweep.rglob("*"))
    common = ["--workdir", str(workers.sweep), "--config", str(config)]
    grids = ["--grid", "mixture.monolingual_fraction=0,1"]
    for options, message in (
        ([*grids, "--steps", "7"], f"base.steps: {STEPS} -> 7"),
        ([*grids, "--seeds", "4,5"], "seeds: [3] -> [4, 5]"),
        ([*grids, "--tasks", "demo,xquad_r"], "tasks: ['demo'] -> ['demo', 'xquad_r']"),
        (["--arms", "x-y,hybrid"], "arms: ['alpha=0', 'alpha=1'] -> ['x-y', 'hybrid']"),
    ):
        assert ablate(monkeypatch, *common, *options) == 1
        errors = capsys.readouterr().err
        assert message in errors
        assert errors.count("\n") == 1
    assert sorted(workers.sweep.rglob("*")) == before
    assert ablate(monkeypatch, *common, *grids, "--page-only") == 0
    assert "0 of 2 runs are finished" in capsys.readouterr().out
    plan = read_plan(workers.sweep)
    assert plan is not None
    assert plan.command == "command"  # the one that made the sweep, not the last one
    assert ablate(monkeypatch, "--workdir", str(workers.sweep), "--dry-run") == 1
    assert "--dry-run is of a plan: give --sweep FILE too" in capsys.readouterr().err
    copied = workers.sweep / "runs" / "alpha=0" / "seed-3" / "config.yaml"  # as of a run of another sweep
    copied.write_text(copied.read_text(encoding="utf-8").replace("seed: 3", "seed: 4"), encoding="utf-8")
    assert ablate(monkeypatch, *common, *grids) == 1
    assert f"{copied} is not the config of this run: move {copied.parent} away" in capsys.readouterr().err


def test_a_sweep_grows_by_arms_and_seeds_and_is_tested_against_another_baseline(
    workers: Workers, config: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    common = ["--workdir", str(workers.sweep), "--config", str(config), "--page-only"]
    assert ablate(monkeypatch, *common, "--grid", "mixture.monolingual_fraction=0,1") == 0
    old = {path: path.stat().st_mtime_ns for path in workers.sweep.glob("runs/*/*/config.yaml")}
    (workers.sweep / "leakage.json").touch()  # of the two arms' text
    more = ["--grid", "mixture.monolingual_fraction=0,0.5,1", "--arms", "x-x", "--seeds", "2", "--baseline", "alpha=1"]
    assert ablate(monkeypatch, *common, *more) == 0
    assert "0 of 8 runs are finished" in capsys.readouterr().out
    plan = read_plan(workers.sweep)
    assert plan is not None
    assert [arm.name for arm in plan.arms] == ["alpha=0", "alpha=0.5", "alpha=1", "x-x"]
    assert (plan.seeds, plan.baseline) == ([3, 4], ["alpha=1"])
    assert "--seeds 2" in plan.command
    assert {path: path.stat().st_mtime_ns for path in old} == old
    assert len(list(workers.sweep.glob("runs/*/*/config.yaml"))) == 8
    assert not (workers.sweep / "leakage.json").exists()
    fewer = ["--grid", "mixture.monolingual_fraction=0,1"]  # as the first worker's command, started again
    assert ablate(monkeypatch, *common, *fewer) == 0
    assert "has 6 more runs, which this command does as well: python -m hybrid_jax.ablate" in capsys.readouterr().out
    assert read_plan(workers.sweep) == plan
    assert ablate(monkeypatch, *common, *more[:-2], "--arms", "x-x,mono-then-cross") == 0
    grown = read_plan(workers.sweep)
    assert grown is not None
    assert (len(grown.arms), grown.baseline) == (5, ["alpha=1"])


def test_every_mistake_of_a_plan_is_said_at_once_and_nothing_is_written(
    workers: Workers, config: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    options = ["--workdir", str(workers.sweep), "--config", str(config), "--arms", "x-z,x-y", "--baseline", "y,y"]
    options += ["--grid", "loss.directions=both,left", "--grid", "mixture.monolingual_fraction=0,2"]
    assert ablate(monkeypatch, *options) == 1
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("error: ") for line in lines)
    for message in ("'x-z'", "loss.directions = 'left'", "monolingual_fraction 2", "the same config", "baseline 'y'"):
        assert sum(message in line for line in lines) == 1, message
    assert not workers.sweep.exists()


@pytest.mark.parametrize(
    ("content", "expected"), [("", 0), ('{"step": 0}\n{"step": 1}\n{"st', 2), ('{"step": 4}\n', 5)]
)
def test_the_steps_of_a_run_are_read_from_the_end_of_its_log(tmp_path: Path, content: str, expected: int):
    from hybrid_jax.ablate.folder import Run

    (tmp_path / "metrics.jsonl").write_text(content)
    assert steps_done(Run("a", 0, tmp_path)) == expected


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("step 1\nerror: no rows\n", "error: no rows"),
        ("Traceback:\n  x\njax.errors.JaxError: wrong\n-----\nFor simplicity, …\n", "jax.errors.JaxError: wrong"),
        ("step 1\n\nstep 2\n", "step 2"),
        ("", "it wrote nothing"),
    ],
)
def test_the_hint_of_a_failure_is_the_last_error(tmp_path: Path, log: str, expected: str):
    (tmp_path / "train.log").write_text(log, encoding="utf-8")
    assert last_line(tmp_path / "train.log") == expected


def test_help_needs_no_jax_and_is_shown_at_once():
    code = "import sys; from hybrid_jax.ablate.__main__ import _parser; _parser().format_help(); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "hybrid_jax.ablate.arms" in modules
    assert not {"jax", "numpy", "hybrid_jax.config"} & set(modules)
    before = os.times()
    shown = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True)
    after = os.times()
    assert "mono-then-cross" in shown.stdout
    # Processor time, as other tests may run beside this one.
    assert after.children_user + after.children_system - before.children_user - before.children_system < 0.5
