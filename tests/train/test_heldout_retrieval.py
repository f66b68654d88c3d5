"""mAP on the held-out pool: it equals a dense reference, is logged, chooses the best checkpoint and stops a run."""

import io
import json
import shutil
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.processes import two_processes
from support.runs import timeless, train_command

from hybrid_jax.config import Config, check, dump_config, parse_config
from hybrid_jax.data.pipeline import Pipeline
from hybrid_jax.data.records import DataError
from hybrid_jax.embed.load import load
from hybrid_jax.runs.checkpoint import steps
from hybrid_jax.runs.keeping import RETRIEVAL, CheckpointConfig, Patience, stopped_early
from hybrid_jax.train.loop import train


@pytest.fixture(scope="module")
def config(tiny_run) -> Config:
    return parse_config(tiny_run.yaml)


def log_of(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def average_precision(scores: np.ndarray, relevant: np.ndarray) -> float:
    hits = relevant[np.argsort(-scores, kind="stable")]
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())


def test_it_is_the_map_of_a_dense_reference(tiny_run, config: Config):
    pipeline = Pipeline(config.data, config.mixture, config.batch_size, config.seed)
    pool = pipeline.heldout_pool()
    assert pool is not None
    (store,) = pipeline.stores.values()
    ids = {query.id.partition(":")[2] for query in pool.queries}
    heldout = store.held_out(config.data.heldout_fraction)
    assert len(ids) == 6
    assert all(heldout[int(record)] for record in ids)

    encoder = load(tiny_run.folder)
    queries = encoder.encode_queries([store.texts[query.text] for query in pool.queries])
    passages = encoder.encode_passages([store.texts[passage.text] for passage in pool.passages])
    # Texts of the same tokens tie; then the greater (language, id) comes first, as in `eval`.
    names = [(passage.language, passage.id) for passage in pool.passages]
    order = sorted(range(len(names)), key=lambda number: names[number], reverse=True)
    pool = replace(pool, passages=tuple(pool.passages[n] for n in order))
    scores = (queries.astype(np.float64) @ passages[order].T.astype(np.float64)).round(7)
    of_query, of_passage = (np.array([text.language for text in texts]) for texts in (pool.queries, pool.passages))
    relevant = np.array([[query.group == passage.group for passage in pool.passages] for query in pool.queries])
    assert relevant.sum(axis=1).tolist() == [3] * 18  # the positive and its two translations

    languages = np.unique(of_query)
    pairs = {}
    for one in languages:
        for other in languages:
            among, rows = of_passage == other, np.flatnonzero(of_query == one)
            pairs[one, other] = np.mean([average_precision(scores[row, among], relevant[row, among]) for row in rows])
    expected = {
        "heldout_map_monolingual": np.mean([value for (one, other), value in pairs.items() if one == other]),
        "heldout_map_cross_lingual": np.mean([value for (one, other), value in pairs.items() if one != other]),
        "heldout_map_multilingual": np.mean(list(map(average_precision, scores, relevant))),
    }
    last = log_of(tiny_run.folder)[-1]
    assert {name: last[name] for name in RETRIEVAL} == pytest.approx(expected, abs=1e-6)
    assert 0.1 < min(expected.values()) < max(expected.values()) <= 1


def test_it_is_measured_with_the_heldout_loss_and_printed(tiny_run):
    log = log_of(tiny_run.folder)
    assert [line["step"] for line in log if RETRIEVAL[0] in line] == [
        line["step"] for line in log if "heldout_loss" in line
    ]
    assert f"mAP mono {log[79]['heldout_map_monolingual']:.3f} · mAP cross" in tiny_run.printed
    assert "held-out pool: 18 queries and 18 passages of 6 records in 3 languages\n" in tiny_run.printed


def impatient(config: Config, patience: int = 1) -> Config:
    """The tiny run with a learning rate of which nothing improves: it stops at its second evaluation."""
    checkpoint = CheckpointConfig(every=4, keep=1, best_metric="heldout_map_multilingual", patience=patience)
    optimizer = config.optimizer.model_copy(update={"learning_rate": 1e-9})
    return check(
        config.model_copy(update={"steps": 40, "heldout_every": 4, "checkpoint": checkpoint, "optimizer": optimizer})
    )


def test_it_stops_keeps_the_best_and_a_resumed_run_stops_at_the_same_step(config: Config, tmp_path: Path, capsys):
    config, whole = impatient(config, patience=2), tmp_path / "whole"
    assert train(config, whole)
    said = "stopped at step 12: heldout_map_multilingual has not improved in 2 evaluations; the best is step 4"
    assert capsys.readouterr().out.splitlines()[-1] == said
    assert steps(whole / "checkpoints") == [4, 12]

    assert train(config, whole)
    assert capsys.readouterr().out.splitlines()[-1] == f"{whole} is complete: {said}"
    early = stopped_early(whole, config.checkpoint)
    assert early is not None
    assert (early.step, str(early)) == (12, said)
    assert len(log_of(whole)) == 12

    killed = Path(shutil.copytree(whole, tmp_path / "killed"))  # while the checkpoint of step 12 was written
    shutil.rmtree(killed / "checkpoints" / "12")
    with redirect_stderr(io.StringIO()):
        assert train(config, killed)
    assert capsys.readouterr().out.splitlines()[-1] == said
    assert timeless(log_of(killed))[:4] == timeless(log_of(whole))[:4]
    assert timeless(log_of(killed)) == timeless(log_of(whole))


@pytest.mark.parametrize(
    ("metric", "values", "stop"),
    [
        ("heldout_accuracy", [0.5, 0.6, 0.6, 0.5, 0.9], 4),
        ("heldout_map_multilingual", [0.5, 0.4, 0.6, 0.5, 0.7], None),
        ("heldout_loss", [3.0, 2.0, float("nan"), None, 1.0], 4),
    ],
)
def test_patience_counts_evaluations_without_a_better_one(metric, values, stop):
    patience = Patience(CheckpointConfig(best_metric=metric, patience=2))
    stopped = None
    for number, value in enumerate(values, start=1):
        patience.see(number, {metric: value})
        patience.see(number, {"loss": 0.0})  # no evaluation
        if patience.exhausted and stopped is None:
            stopped = number
    assert stopped == stop


def test_data_in_one_language_have_no_cross_lingual_pairs(config: Config, tiny_run, tmp_path: Path, monkeypatch):
    lines = (tiny_run.folder.parent / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    (tmp_path / "rows.jsonl").write_text("\n".join(line for line in lines if '"lang": "en"' in line), encoding="utf-8")
    monkeypatch.setenv("TINY_ROWS", str(tmp_path))
    config = config.model_copy(
        update={
            "batch_size": 4,
            "data": config.data.model_copy(update={"heldout_fraction": 0.4}),
            "mixture": config.mixture.model_copy(update={"monolingual_fraction": 1.0}),
            "checkpoint": CheckpointConfig(every=10, best_metric="heldout_map_cross_lingual"),
        }
    )
    with pytest.raises(DataError, match="in 1 language has no cross-lingual pairs: choose heldout_map_monolingual or"):
        train(config, tmp_path / "run")


def test_two_processes_stop_at_the_same_step(config: Config, tmp_path: Path):
    command = train_command(dump_config(impatient(config, patience=2)), tmp_path)
    with two_processes([command, command]) as processes:
        said = [process.communicate(timeout=200)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert "stopped at step 12: heldout_map_multilingual has not improved in 2 evaluations" in said[0]
    assert steps(tmp_path / "run" / "checkpoints") == [4, 12]
