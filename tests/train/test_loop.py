"""What a run leaves behind: every step in its log, the batches that were planned, the checkpoints asked for."""

import json
from collections import Counter

import jax
import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]

from hybrid_jax.config import Config, parse_config
from hybrid_jax.data.layout import Layout
from hybrid_jax.data.pipeline import Pipeline
from hybrid_jax.runs.checkpoint import steps
from hybrid_jax.train import loop
from hybrid_jax.train.loop import train


@pytest.fixture(scope="module")
def config(tiny_run) -> Config:
    return parse_config(tiny_run.yaml)


@pytest.fixture(scope="module")
def log(tiny_run) -> list[dict]:
    return [json.loads(line) for line in (tiny_run.folder / "metrics.jsonl").read_text().splitlines()]


def test_the_log_has_every_step_once_with_the_batches_that_preview_shows(config: Config, log):
    assert [line["step"] for line in log] == list(range(config.steps))
    pipeline = Pipeline(config.data, config.mixture, config.batch_size, config.seed)
    for line in log:
        batch = pipeline.batch(line["step"])
        assert (line["rows"], line["kind"]) == (batch.digest, batch.plan.kind)
        assert line["query_languages"] == Counter(batch.query_languages)
        assert line["passage_languages"] == Counter(batch.passage_languages)


def test_the_log_has_what_a_step_should_tell(log):
    told = {"accuracy", "dataset", "grad_norm", "learning_rate", "loss", "masked_fraction", "temperature"}
    assert all(told <= set(line) for line in log)
    kinds = Counter(line["kind"] for line in log)  # α falls from 0.8 to 0.2 in 60 of the 80 steps: 30 + 4
    assert abs(kinds["monolingual"] - 34) <= 1
    assert sum(line["loss"] for line in log[-20:]) < sum(line["loss"] for line in log[:20])


def test_the_heldout_loss_is_measured_when_asked(log):
    assert [line["step"] + 1 for line in log if "heldout_loss" in line] == [10, 20, 30, 40, 50, 60, 70, 80]


def test_the_latest_and_the_best_checkpoints_are_kept(tiny_run, log):
    saved = {line["step"] + 1: line["heldout_loss"] for line in log if (line["step"] + 1) % 20 == 0}
    best = min(saved, key=lambda step: saved[step])
    assert steps(tiny_run.folder / "checkpoints") == sorted({60, 80, best})


def test_the_run_says_once_how_many_negatives_there_are(tiny_run, log):
    assert tiny_run.printed.count("each query sees") == 1
    sampled = [log[step] for step in np.linspace(0, 79, 64).astype(int)]
    masked = np.mean([line["masked"] for line in sampled])
    assert f"each query sees 7 negatives ({masked:.1f} masked on average) from 2 devices\n" in tiny_run.printed


def test_there_are_plain_lines_where_there_is_no_terminal(tiny_run, config: Config):
    assert "\r" not in tiny_run.printed
    lines = [line for line in tiny_run.printed.splitlines() if line.startswith("step ")]
    assert len(lines) == config.steps
    assert all("loss" in line for line in lines)
    assert all("pairs/s" in line and line.endswith(" left") for line in lines[1:])
    assert "  epochs 0.10  peak " in lines[0]  # 8 pairs of the 78 rows that are not held out
    assert "  epochs 8.21  peak " in lines[79]


def test_tensorboard_shows_the_numbers_of_the_log(tiny_run, log):
    (path,) = (tiny_run.folder / "tensorboard").iterdir()
    content, events = path.read_bytes(), []
    while content:
        length = int.from_bytes(content[:8], "little")
        events.append(Event.FromString(content[12 : 12 + length]))
        content = content[16 + length :]
    found: dict[str, dict[int, float]] = {}
    for event in events:
        for value in event.summary.value:
            found.setdefault(value.tag, {})[event.step] = value.simple_value
    losses = {line["step"]: line["loss"] for line in log}
    assert found["loss"] == pytest.approx(losses, rel=1e-6)
    by_kind = {**found["loss/monolingual"], **found["loss/cross_lingual"]}
    assert (by_kind, len(found["throughput/pairs_per_second"])) == (found["loss"], 79)
    assert {"learning_rate", "accuracy/monolingual"} <= set(found)


def test_a_run_compiles_its_step_once_for_each_number_of_rows(
    tiny_run, config: Config, tmp_path, caplog: pytest.LogCaptureFixture
):
    # Each start makes new functions, so everything is compiled (or read from the cache) again, and logged.
    with jax.log_compiles(), caplog.at_level("WARNING", logger="jax"):
        train(config.model_copy(update={"steps": 24}), tmp_path / "run")
    compiled = [line for line in caplog.messages if line.startswith("Compiling jit(train_step)")]
    assert 1 <= len(compiled) <= 3
    layout = next(line for line in tiny_run.printed.splitlines() if line.startswith("  programs"))
    assert len(compiled) <= layout.count(",") + layout.count(" or ") + 1


def test_a_batch_of_more_rows_than_were_expected_is_reported_once(
    config: Config, tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    config = config.model_copy(update={"steps": 8, "checkpoint": config.checkpoint.model_copy(update={"every": 10})})
    monkeypatch.setattr(loop, "choose_layouts", lambda *_: [Layout(64, 4, (1,), 1.0, 2, None)])
    train(config, tmp_path / "run")
    lines = [line for line in capsys.readouterr().err.splitlines() if "rows of 64 tokens, more than the 1" in line]
    assert len(lines) == 1
    assert lines[0].startswith("step 0 needs ")
    assert lines[0].endswith("one more program is compiled")


def test_batches_of_expected_rows_are_not_reported(tiny_run):
    assert "one more program" not in tiny_run.printed
