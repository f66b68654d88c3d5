"""A run that was killed and started again equals, bit by bit, one that never stopped; and what is refused."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.runs import assert_equal_runs, narrow_pipe, train_command

from hybrid_jax.config import Config, parse_config
from hybrid_jax.runs.checkpoint import steps
from hybrid_jax.runs.workdir import WorkdirError
from hybrid_jax.train.loop import train


@pytest.fixture(scope="module")
def config(tiny_run) -> Config:
    return parse_config(tiny_run.yaml)


@pytest.fixture
def copy(tiny_run, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_run.folder, tmp_path / "run"))


@pytest.mark.skipif(sys.platform != "linux", reason="sets the size of a pipe, which only Linux does")
def test_killed_and_resumed_equals_uninterrupted(tiny_run, config: Config, tmp_path):
    # Nobody reads the run's lines: with the pipe full, after about 50 of its 80 steps, it stands still to be killed.
    reading, writing = narrow_pipe(tiny_run.printed)
    command = train_command(tiny_run.yaml, tmp_path)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=writing)
    os.close(writing)
    try:
        run, until = tmp_path / "run", time.monotonic() + 150
        while not (run / "checkpoints" / "40").is_dir():
            assert process.poll() is None, os.read(reading, 4096)
            assert time.monotonic() < until
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
        os.close(reading)
    assert max(steps(run / "checkpoints")) == 40
    killed_at = (run / "metrics.jsonl").read_text().count("\n")
    assert 40 <= killed_at < config.steps
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 59, "lo')  # what a kill within a write leaves

    train(config, run)
    assert_equal_runs(run, tiny_run.folder, config)


def test_a_full_disk_is_one_line_and_the_run_can_go_on(tiny_run, config: Config, copy: Path, tmp_path):
    # A run stopped after its checkpoint of step 60. No file may grow past its log of step 70: the kernel refuses the
    # bytes of the next lines, as a full disk does.
    shutil.rmtree(copy / "checkpoints" / "80")
    lines = (copy / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    kilobytes = len(b"".join(lines[:70])) // 1024
    command = train_command(tiny_run.yaml, tmp_path)
    limited = ["bash", "-c", f'ulimit -f {kilobytes}; exec "$@"', "bash", *command]
    done = subprocess.run(limited, capture_output=True, text=True, check=False, timeout=150)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last == "error: [Errno 27] File too large: make room, and give the same command again"
    assert "Traceback" not in done.stderr
    assert 60 <= (copy / "metrics.jsonl").read_text().count("\n") <= 70

    train(config, copy)
    assert_equal_runs(copy, tiny_run.folder, config)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Orbax leaves readers half-way
def test_a_half_written_checkpoint_is_passed_over(tiny_run, config: Config, copy: Path, capsys):
    manifest = copy / "checkpoints" / "80" / "state" / "manifest.ocdbt"
    manifest.write_bytes(manifest.read_bytes()[:20])
    (copy / "checkpoints" / "100.orbax-checkpoint-tmp").mkdir()
    train(config, copy)
    said = capsys.readouterr().out
    assert "checkpoints/80 is damaged (" in said
    assert "100.orbax-checkpoint-tmp was never finished" in said
    assert f"resuming {copy} at step 60" in said
    assert_equal_runs(copy, tiny_run.folder, config)
    assert (copy / "checkpoints" / "80.damaged").is_dir()


def test_negatives_of_a_device_hold_the_number_of_devices(config: Config, tmp_path):
    run, changes = tmp_path / "run", {"steps": 4, "heldout_every": 0}
    local = config.model_copy(update={**changes, "loss": config.loss.model_copy(update={"negatives": "local"})})
    train(local, run)
    four = local.model_copy(update={"mesh": config.mesh.model_copy(update={"data": 4})})
    with pytest.raises(WorkdirError, match="the content of the number of devices is not what this run began with"):
        train(four, run)


def test_resume_is_exact_with_everything_on(config: Config, tmp_path, capsys):
    """Chunks of rows, lazy embeddings, bfloat16 and dropout together."""
    encoder = config.model.encoder.model_copy(update={"dtype": "bfloat16", "dropout": 0.2, "attention_dropout": 0.2})
    whole = config.model_copy(
        update={
            "steps": 12,
            "microbatch_rows": 2,
            "heldout_every": 0,
            "model": config.model.model_copy(update={"encoder": encoder}),
            "optimizer": config.optimizer.model_copy(update={"lazy_embeddings": True}),
            "checkpoint": config.checkpoint.model_copy(update={"every": 6, "best_metric": "loss"}),
        }
    )
    train(whole, tmp_path / "whole")
    assert re.search(r"\d x 2 .*a step", capsys.readouterr().out)  # several chunks
    resumed = Path(shutil.copytree(tmp_path / "whole", tmp_path / "resumed"))
    shutil.rmtree(resumed / "checkpoints" / "12")
    lines = (resumed / "metrics.jsonl").read_text().splitlines(keepends=True)
    (resumed / "metrics.jsonl").write_text("".join(lines[:8]))
    train(whole, resumed)
    assert len(json.loads((resumed / "run.json").read_text())["starts"]) == 2
    assert_equal_runs(resumed, tmp_path / "whole", whole)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_complete_run_says_so_and_changes_nothing_whatever_harmless_field_changed(config: Config, copy: Path, capsys):
    before = contents(copy)
    train(config.model_copy(update={"log_every": 7, "heldout_every": 0}), copy)
    assert f"{copy} is complete: 80 of 80 steps" in capsys.readouterr().out
    after = contents(copy)
    starts = [len(json.loads(of.pop("run.json"))["starts"]) for of in (before, after)]
    assert (starts, after) == ([1, 2], before)


def test_another_config_is_refused(config: Config, copy: Path):
    before = contents(copy)
    other = config.model_copy(update={"seed": 4, "batch_size": 4, "log_every": 2})
    with pytest.raises(WorkdirError, match=r"another config \(seed: 3 -> 4; batch_size: 8 -> 4\): .*another --workdir"):
        train(other, copy)
    assert contents(copy) == before


def test_other_data_under_the_same_name_is_refused(config: Config, copy: Path, tiny_run, tmp_path, monkeypatch):
    text = (tiny_run.folder.parent / "rows.jsonl").read_text(encoding="utf-8")
    (tmp_path / "rows.jsonl").write_text(text.replace("river town?", "river town, please?", 1), encoding="utf-8")
    monkeypatch.setenv("TINY_ROWS", str(tmp_path))
    before = contents(copy)
    with pytest.raises(WorkdirError, match=r"the content of tiny, the tokenizer is not what this run began with"):
        train(config, copy)
    assert contents(copy) == before


@pytest.mark.parametrize("kept", [0, 30, 200])
def test_a_truncated_config_is_refused(config: Config, copy: Path, kept: int):
    path = copy / "config.yaml"
    path.write_bytes(path.read_bytes()[:kept])
    before = contents(copy)
    with pytest.raises(WorkdirError, match=r"another --workdir"):
        train(config, copy)
    assert contents(copy) == before


def test_a_folder_that_is_no_run_is_refused(config: Config, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(WorkdirError, match="is not empty and not a run"):
        train(config, tmp_path)
    assert contents(tmp_path) == {"thesis.tex": b"precious"}
