"""A run is watched to its end, whoever is killed on the way; every step once, and the best outlives its deletion."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.monitoring
import pytest

from hybrid_jax.embed.encoder import TextEncoder
from hybrid_jax.embed.load import load
from hybrid_jax.eval import job
from hybrid_jax.eval.watch.command import parse, watch
from hybrid_jax.eval.watch.curve import read
from hybrid_jax.runs.best import read_best
from hybrid_jax.runs.checkpoint import CheckpointError, steps
from hybrid_jax.runs.lines import read_line, write_line
from hybrid_jax.runs.workdir import note_start

METRIC = "parallel.map.multilingual"
COMMAND = [sys.executable, "-m", "hybrid_jax.eval", "watch"]
COMPILED: list[str] = []
"""An entry for each program that JAX has compiled, or read from its cache, in this process."""


def note(event: str, duration_secs: float, **_: Any) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
        COMPILED.append(event)


jax.monitoring.register_event_duration_secs_listener(note)


class Measured:
    """The real evaluation on a small task, which records the steps in order; `before` and `on_publish` run first."""

    def __init__(self, task: Any):
        self.task = task
        self.measured: list[int] = []
        self.published: list[int] = []
        self.before: Callable[[int], None] = lambda step: None
        self.on_publish: Callable[[int], None] = lambda step: None
        self.compiled: list[int] = []

    def open_tasks(self, names: str, data_dir: Path | None) -> job.TasksByName:
        return {"parallel": (self.task,)}

    def measure(self, encoder: TextEncoder, tasks: Any) -> Any:
        step = encoder.origin.step or 0
        self.before(step)
        self.measured.append(step)
        found = job.measure(encoder, tasks)
        self.compiled.append(len(COMPILED))
        return found

    def publish(self, encoder: TextEncoder, found: Any, folder: Path) -> None:
        self.on_publish(encoder.origin.step or 0)
        self.published.append(encoder.origin.step or 0)
        job.publish(encoder, found, folder)


@pytest.fixture
def measured(make_task) -> Measured:
    return Measured(make_task(["de", "en", "es"], 4))


@pytest.fixture
def run(tiny_run, tmp_path: Path) -> Path:
    """A finished run that has kept every checkpoint: of steps 20, 40, 60 and 80."""
    run = Path(shutil.copytree(tiny_run.folder, tmp_path / "run"))
    for step in (20, 40):
        shutil.rmtree(run / "checkpoints" / str(step), ignore_errors=True)
        shutil.copytree(run / "checkpoints" / "60", run / "checkpoints" / str(step))
    return run


def watched(run: Path, measured: Measured, *more: str) -> int:
    options = parse([str(run), "--every", "0.05", "--timeout", "0.2", *more])
    return watch(options, measured.open_tasks, measured.measure, measured.publish)


def curve_steps(run: Path) -> list[int]:
    return [point.step for point in read(run / "eval" / "curve.jsonl")]


def best_step(run: Path) -> int:
    points = read(run / "eval" / "curve.jsonl")
    return min(point.step for point in points if point.value == max(point.value for point in points))


def test_a_run_is_evaluated_in_order_compiled_once_and_its_best_step_outlives_it(run: Path, measured: Measured, capsys):
    assert watched(run, measured) == 0
    assert measured.measured == curve_steps(run) == [20, 40, 60, 80]
    assert COMPILED
    assert len(set(measured.compiled)) == 1
    points = read(run / "eval" / "curve.jsonl")
    assert points[0].value == points[1].value == points[2].value != points[3].value  # the three are copies
    assert points[3].pairs == 80 * 8
    assert points[3].figures["parallel"]["map"]["multilingual"] == points[3].value  # pyright: ignore[reportOptionalSubscript, reportIndexIssue]
    best = best_step(run)
    assert measured.published[-1] == best
    report = json.loads((run / "eval" / "report.json").read_text(encoding="utf-8"))
    assert report["provenance"]["step"] == best
    assert [record["step"] for record in report["curve"]] == [20, 40, 60, 80]  # also those after the best

    lines = capsys.readouterr().out.splitlines()
    assert f"watching {run} on parallel: the best step is the one of the highest {METRIC}" in lines
    assert f"step 20/80  {METRIC} {points[0].value:.4f}  best so far" in lines[-5]
    assert lines[-1].startswith(f"done, 80 steps: the best of 4 evaluated steps is {best}, {METRIC} ")

    assert list((run / "best" / "candidate").iterdir()) == []
    kept = read_best(run / "best")
    assert (steps(run / "best"), kept.step, kept.metric) == ([best], best, METRIC)
    texts = ["Haus Baum?", "house tree?"]
    before = load(run, step=best).encode_queries(texts)
    shutil.rmtree(run / "checkpoints" / str(best))
    for again in (load(run, step="best"), load(run, step=best), load(run / "best" / str(best))):
        assert again.origin.step == best
        assert (again.encode_queries(texts) == before).all()


def test_a_complete_curve_is_not_measured_again_nor_by_another_metric(run: Path, measured: Measured, capsys):
    assert watched(run, measured) == 0
    before = (run / "eval" / "curve.jsonl").read_bytes()
    assert watched(run, measured) == 0
    assert len(measured.measured) == 4
    assert (run / "eval" / "curve.jsonl").read_bytes() == before
    assert "going on: the best of 4 evaluated steps is" in capsys.readouterr().out
    assert watched(run, measured, "--metric", "parallel.rank_distance") == 1
    assert f"is of parallel by {METRIC}, not of" in capsys.readouterr().err
    assert (run / "eval" / "curve.jsonl").read_bytes() == before


@pytest.mark.parametrize("place", ["before", "on_publish"])
def test_interrupted_it_goes_on_with_a_step_that_the_run_has_deleted(run: Path, measured: Measured, place: str, capsys):
    def interrupt(step: int) -> None:
        raise KeyboardInterrupt

    setattr(measured, place, interrupt)
    assert watched(run, measured) == 128 + signal.SIGINT
    assert (
        capsys.readouterr().err
        == f"stopped; the same command goes on with the steps that {run}/eval/curve.jsonl lacks\n"
    )
    assert curve_steps(run) == []
    shutil.rmtree(run / "checkpoints" / "20")
    setattr(measured, place, lambda step: None)
    assert watched(run, measured) == 0
    assert curve_steps(run) == [20, 40, 60, 80]


def test_a_kill_between_the_curve_and_the_keeping_is_made_good(run: Path, measured: Measured):
    assert watched(run, measured) == 0
    best = best_step(run)
    (run / "best" / str(best)).rename(run / "best" / "candidate" / str(best))
    shutil.rmtree(run / "checkpoints" / str(best))
    (run / "best" / "best.json").unlink()
    with pytest.raises(CheckpointError, match="has no best step"):
        load(run, step="best")
    assert watched(run, measured) == 0
    assert load(run, step="best").origin.step == best
    assert list((run / "best" / "candidate").iterdir()) == []


def test_steps_deleted_meanwhile_and_damaged_ones_are_skipped_and_named(run: Path, measured: Measured, capsys):
    measured.before = lambda step: shutil.rmtree(run / "checkpoints" / "40", ignore_errors=True)
    (run / "checkpoints" / "60" / "state" / "_METADATA").write_bytes(b"")
    assert watched(run, measured) == 0
    assert curve_steps(run) == [20, 80]
    said = capsys.readouterr().out
    assert "skipped step 40: no longer there\n" in said
    assert "skipped step 60: " in said
    assert "60 is damaged (" in said


def test_a_run_that_diverged_ends_it_unless_it_went_on(run: Path, measured: Measured, capsys):
    (run / "diverged_at_step_65.json").write_text("{}")
    assert watched(run, measured) == 0
    for folder in ("best", "eval", "checkpoints/80"):
        shutil.rmtree(run / folder)
    assert watched(run, measured, "--timeout", "60") == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: the run diverged ({run}/diverged_at_step_65.json has the rows); the best of 3 ")
    assert curve_steps(run) == [20, 40, 60]


def test_a_resumed_run_is_watched_by_the_settings_of_its_latest_start(run: Path, measured: Measured, capsys):
    """By patience 3 the run stopped at step 40; then it was resumed with more patience, to save oftener."""
    later = run.parent / "later"
    later.mkdir()
    for step in (60, 80):
        (run / "checkpoints" / str(step)).rename(later / str(step))
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    worse = [{**record, **_rising(record)} for record in map(read_line, lines)]
    (run / "metrics.jsonl").write_text("".join(map(write_line, worse)))
    changed = {"checkpoint.patience": 3}
    note_start(run, {}, {}, changed)
    assert watched(run, measured) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("done, the run stopped at step 40: heldout_loss has not improved in 3 evaluations")

    note_start(run, {}, {}, {**changed, "checkpoint.patience": 10, "checkpoint.every": 10})
    (later / "60").rename(run / "checkpoints" / "60")
    assert watched(run, measured) == 1
    told = capsys.readouterr()
    assert "skipped step 50: no longer there\n" in told.out
    assert f"error: {run} has had no new checkpoint for 0.2 s; the best of 3" in told.err


def _rising(record: dict[str, Any]) -> dict[str, float]:
    """A held-out loss that rises from step to step, where one was measured: the first is the best."""
    return {"heldout_loss": float(record["step"])} if "heldout_loss" in record else {}


def test_waiting_has_an_end_where_one_is_asked_for(run: Path, measured: Measured, capsys):
    shutil.rmtree(run / "checkpoints" / "80")
    assert watched(run, measured) == 1
    assert f"error: {run} has had no new checkpoint for 0.2 s; the best of 3" in capsys.readouterr().err
    absent = run.parent / "absent"
    assert watched(absent, measured) == 1
    told = capsys.readouterr()
    assert told.out == f"{absent}: waiting for the run to begin (no config.yaml and tokenizer/ yet)\n"
    assert told.err == f"error: {absent}: waited in vain for the run to begin (no config.yaml and tokenizer/ yet)\n"
    assert not absent.exists()


def test_mistakes_are_told_before_it_waits(run: Path, measured: Measured, capsys):
    assert watched(run.parent / "absent", measured, "--metric", "parallel.mAP.multilingual") == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert f"no such figure: choose another, such as {METRIC}, " in told.err
    with pytest.raises(SystemExit):
        watched(run, measured, "--every", "0")
    assert "'0' is no number of seconds above 0" in capsys.readouterr().err


def write_pool(folder: Path) -> Path:
    """A BEIR folder in the tiny run's words."""
    (folder / "qrels").mkdir(parents=True)
    words = {"de": "Haus Baum Fluss", "en": "house tree river", "es": "casa árbol río"}
    rows = [(f"{lang}{n}", lang, word) for lang, line in words.items() for n, word in enumerate(line.split())]
    corpus = [{"_id": f"d-{name}", "title": "", "text": f"{word} 7 {word}.", "lang": lang} for name, lang, word in rows]
    queries = [{"_id": f"q-{name}", "text": f"{word} {word}?", "lang": lang} for name, lang, word in rows]
    for file, lines in (("corpus", corpus), ("queries", queries)):
        (folder / f"{file}.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    judged = [f"q-{one}\td-{other}\t1" for one, _, _ in rows for other, _, _ in rows if one[-1] == other[-1]]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]))
    return folder


def wait_for(done: Callable[[], object], *processes: subprocess.Popen) -> None:
    until = time.monotonic() + 120
    while not done():
        assert all(process.poll() is None for process in processes)
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_real_run_is_watched_by_processes_that_are_killed(tiny_run, tmp_path: Path):
    """The run keeps one checkpoint beside its own best; held up, so that the first watch dies before the end."""
    run, pool = tmp_path / "run", write_pool(tmp_path / "pool")
    (tmp_path / "tiny.yaml").write_text(tiny_run.yaml, encoding="utf-8")
    asked = ["--tasks", f"pooled:{pool}", "--metric", "pooled:pool.rank_distance", "--every", "0.1"]
    train = [sys.executable, "-m", "hybrid_jax.train", "--config", str(tmp_path / "tiny.yaml"), "--workdir", str(run)]
    train += ["--checkpoint.every", "10", "--checkpoint.keep", "1"]
    started: list[subprocess.Popen] = []

    def start(command: list[str], name: str) -> subprocess.Popen:
        with (tmp_path / name).open("w") as file:
            started.append(subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT))
        return started[-1]

    try:
        first = start([*COMMAND, str(run), *asked], "first")
        wait_for(lambda: "waiting for the run to begin" in (tmp_path / "first").read_text(), first)
        training = start(train, "train")
        wait_for(lambda: steps(run / "checkpoints"), first, training)
        training.send_signal(signal.SIGSTOP)
        wait_for(lambda: curve_steps(run), first)
        first.kill()
        first.wait()
        alone = curve_steps(run)
        training.send_signal(signal.SIGCONT)
        second = start([*COMMAND, str(run), *asked], "second")
        assert training.wait(150) == 0
        assert second.wait(100) == 0, (tmp_path / "second").read_text()
    finally:
        for process in started:
            process.kill()
            process.wait()

    points = read(run / "eval" / "curve.jsonl")
    said = "".join((tmp_path / name).read_text() for name in ("first", "second"))
    evaluated = [point.step for point in points]
    assert evaluated[: len(alone)] == alone
    assert evaluated == sorted(set(evaluated))
    assert evaluated[-1] == 80
    skipped = [line.split(": ")[0] for line in said.splitlines() if line.startswith("skipped step")]
    named = {int(number) for line in skipped for number in line.partition(" ")[2].partition(" ")[2].split(", ")}
    assert named == set(range(10, 81, 10)) - set(evaluated)
    best = min(points, key=lambda point: (point.value, point.step))
    assert said.splitlines()[-1].startswith(
        f"done, 80 steps: the best of {len(points)} evaluated steps is {best.step}, "
    )
    assert load(run, step="best").origin.step == best.step
    report = json.loads((run / "eval" / "report.json").read_text(encoding="utf-8"))
    assert report["provenance"]["step"] == best.step
    assert report["tasks"]["pooled:pool"]["rank_distance"] == best.value
    assert [record["step"] for record in report["curve"]] == evaluated
