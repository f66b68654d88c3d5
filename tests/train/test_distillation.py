"""Distillation equals its definition, reads the right vectors, and is the same run when resumed or on other devices."""

import json
import os
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.contrastive import unit_vectors
from support.runs import assert_equal_runs, log_of

from hybrid_jax.config import Config, dump_config, parse_config
from hybrid_jax.data.__main__ import main as data_main
from hybrid_jax.data.batch import TeacherVectors
from hybrid_jax.data.pipeline import Pipeline
from hybrid_jax.data.records import DataError
from hybrid_jax.embed import corpus
from hybrid_jax.embed.load import load
from hybrid_jax.embed.store_format import StoreError
from hybrid_jax.runs.workdir import WorkdirError
from hybrid_jax.runtime.mesh import MeshConfig, batch_sharding, make_mesh, replicated
from hybrid_jax.train.distillation import DistillationConfig, check_trained, distillation_loss, with_teacher
from hybrid_jax.train.hooks import Hooks
from hybrid_jax.train.loop import train
from hybrid_jax.train.loss import LossConfig
from hybrid_jax.train.objective import Groups, Vectors, make_objective
from hybrid_jax.train.plan import plan
from hybrid_jax.train.teacher import Teacher

ROWS = 16
Form = Literal["mse", "cosine"]


def encoded(hard_negatives: int = 0) -> Vectors:
    """Random vectors; of some queries and positives, not of the same rows, the teacher knows no text."""
    random = np.random.default_rng(0)
    teacher = TeacherVectors(unit_vectors(random, ROWS), unit_vectors(random, ROWS))
    teacher.queries[[1, 7]] = 0
    teacher.passages[[1, 2, 9]] = 0
    passages = unit_vectors(random, ROWS * (1 + hard_negatives))
    return Vectors(jnp.array(unit_vectors(random, ROWS)), jnp.array(passages), jnp.float32(0.1), teacher)


def by_definition(vectors: Vectors, form: Form) -> tuple[float, np.ndarray, np.ndarray, dict[str, float]]:
    """The loss, its gradients by queries and passages, and the metrics, text by text in float64."""
    assert vectors.teacher is not None
    queries, passages = (np.asarray(array, np.float64) for array in vectors[:2])
    per_row, cosines, loss = len(passages) // len(queries), [], 0.0
    gradients = np.zeros_like(queries), np.zeros_like(passages)
    sides = (queries, vectors.teacher.queries, 1), (passages, vectors.teacher.passages, per_row)
    for (students, teachers, step), gradient in zip(sides, gradients, strict=True):
        taught = [row for row in range(ROWS) if teachers[row].any()]
        for row in taught:
            student, teacher = students[row * step], teachers[row].astype(np.float64)
            cosines.append(student @ teacher)
            if form == "mse":
                loss += sum((s - t) ** 2 for s, t in zip(student, teacher, strict=True)) / len(taught)
                gradient[row * step] = 2 * (student - teacher) / len(taught)
            else:
                loss += (1 - student @ teacher) / len(taught) / 2
                gradient[row * step] = -teacher / len(taught) / 2
    metrics = {"distillation_loss": loss, "taught": 27 / 32, "teacher_cosine": float(np.mean(cosines))}
    return loss, *gradients, metrics


@pytest.mark.parametrize("form", ["mse", "cosine"])
@pytest.mark.parametrize(("devices", "hard_negatives"), [(1, 0), (8, 2)])
def test_the_loss_equals_its_definition(form: Form, devices: int, hard_negatives: int):
    vectors = encoded(hard_negatives)
    expected, by_queries, by_passages, metrics = by_definition(vectors, form)
    mesh = make_mesh(MeshConfig(data=devices))
    split, whole = batch_sharding(mesh), replicated(mesh)
    vectors = jax.device_put(vectors, Vectors(split, whole, whole, TeacherVectors(split, split)))  # pyright: ignore[reportArgumentType]

    def loss_of(queries, passages):
        return distillation_loss(vectors._replace(queries=queries, passages=passages), form)

    step = jax.jit(jax.value_and_grad(loss_of, argnums=(0, 1), has_aux=True))
    (loss, measured), gradients = jax.device_get(step(*vectors[:2]))
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    for gradient, other in zip(gradients, (by_queries, by_passages), strict=True):
        np.testing.assert_allclose(gradient, other, rtol=1e-5, atol=1e-7)
    assert measured == pytest.approx(metrics, rel=1e-6)


def test_a_batch_the_teacher_knows_nothing_of_has_no_loss_and_no_gradient():
    nothing = TeacherVectors(np.zeros((ROWS, 5), np.float32), np.zeros((ROWS, 5), np.float32))
    vectors = encoded()._replace(teacher=nothing)
    (loss, metrics), gradient = jax.value_and_grad(
        lambda queries: distillation_loss(vectors._replace(queries=queries), "mse"), has_aux=True
    )(vectors.queries)
    assert (loss, metrics["taught"], metrics["teacher_cosine"]) == (0, 0, 0)
    assert not gradient.any()


@pytest.mark.parametrize("weight", [0.25, 1])
def test_the_weight_shares_between_both_losses(weight: float):
    vectors, groups = encoded(), Groups(jnp.arange(ROWS), jnp.arange(ROWS))
    contrastive = make_objective(LossConfig(), make_mesh(MeshConfig(data=1)))
    both = with_teacher(contrastive, DistillationConfig(store="somewhere", weight=weight))
    alone, teachers = contrastive(vectors, groups)[0], distillation_loss(vectors, "mse")[0]
    loss, metrics = both(vectors, groups)
    assert float(loss) == pytest.approx((1 - weight) * float(alone) + weight * float(teachers), rel=1e-6)
    assert {"accuracy", "negatives", "taught", "teacher_cosine", "distillation_loss"} <= metrics.keys()
    assert with_teacher(contrastive, DistillationConfig()) is contrastive


class Taught(NamedTuple):
    config: Config
    folder: Path
    store: Path


def _prepared(config: Config, folder: Path, teacher: Path, *options: str) -> Path:
    """The store that the two commands of docs/hybrid_batches.md make, for the data of `config`."""
    file, texts, store = folder / "config.yaml", folder / "texts.jsonl.gz", folder / "teacher.store"
    file.write_text(dump_config(config), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["data", "texts", "--config", str(file), "--out", str(texts)])
        assert data_main() == 0
    command = ["--ckpt", str(teacher), "--corpus", str(texts), "--out", str(store), "--rows-per-shard", "30", *options]
    assert corpus.main(command) == 0
    return store


@pytest.fixture(scope="module")
def taught(tiny_run, tmp_path_factory) -> Taught:
    """Twelve steps on two devices, in microbatches, with two checkpoints: the tiny run's model teaches a new one."""
    folder = tmp_path_factory.mktemp("taught")
    base = parse_config(tiny_run.yaml)
    store = _prepared(base, folder, tiny_run.folder)
    content: dict[str, Any] = base.model_dump(mode="json") | {
        "steps": 12,
        "heldout_every": 6,
        "seed": 5,
        "microbatch_rows": 4,
    }
    content["distillation"] = {"store": str(store)}
    content["checkpoint"] |= {"every": 6, "best_metric": "loss"}
    content["mixture"] |= {"monolingual_fraction": 0.5}
    config = Config.model_validate(content)
    train(config, folder / "run")
    return Taught(config, folder / "run", store)


def _pipeline(config: Config) -> Pipeline:
    return Pipeline(config.data, config.mixture, config.batch_size, config.seed)


def test_a_row_gets_the_teachers_vectors_of_its_records_english_texts(taught: Taught, tiny_run):
    pipeline, encoder = _pipeline(taught.config), load(tiny_run.folder)
    teacher = Teacher(taught.config.distillation, pipeline.stores, encoder.dim)
    rows = Path(os.path.expandvars(taught.config.data.datasets[0].path)).read_text(encoding="utf-8").splitlines()
    english = {row["id"]: row for row in map(json.loads, rows) if row["lang"] == "en"}
    for step in range(4):
        batch = pipeline.batch(step)
        whole = teacher.vectors(batch)
        halves = [teacher.vectors(batch, host, 2) for host in range(2)]
        for side, vectors, parts in zip(("query", "passage"), whole, zip(*halves, strict=True), strict=True):
            expected = encoder.encode_passages([english[record][side] for record in batch.ids])
            np.testing.assert_allclose(vectors, expected, atol=1e-6)
            np.testing.assert_array_equal(np.concatenate(parts), vectors)


def test_the_student_comes_closer_to_its_teacher_and_the_log_says_so(taught: Taught):
    log = log_of(taught.folder)
    assert {line["kind"] for line in log} == {"monolingual", "cross_lingual"}
    for line in log:
        assert line["taught"] == 1
        assert line["loss"] == line["distillation_loss"] == pytest.approx(4 * (1 - line["teacher_cosine"]), rel=1e-4)
    assert log[-1]["teacher_cosine"] > log[0]["teacher_cosine"] + 0.1
    assert log[5]["heldout_loss"] < log[0]["loss"]


def test_a_resumed_run_has_the_same_bits(taught: Taught, tmp_path: Path):
    copy = Path(shutil.copytree(taught.folder, tmp_path / "run"))
    shutil.rmtree(copy / "checkpoints" / "12")
    train(taught.config, copy)
    assert_equal_runs(taught.folder, copy, taught.config)


def test_eight_devices_without_microbatches_give_the_same_losses(taught: Taught, tmp_path: Path):
    changes = {"mesh": MeshConfig(data=8), "heldout_every": 0, "microbatch_rows": None, "steps": 12}
    train(taught.config.model_copy(update=changes), tmp_path / "run")
    losses = [[line["loss"] for line in log_of(folder)] for folder in (taught.folder, tmp_path / "run")]
    np.testing.assert_allclose(losses[0][:5], losses[1][:5], rtol=1e-5)


def test_plan_knows_the_teachers_vectors(taught: Taught):
    lines: list[str] = []
    plan(taught.config.model_copy(update={"microbatch_rows": None}), False, lines.append, memory=2**30)
    assert lines[-1].startswith("fits")


@pytest.mark.parametrize(
    ("loss", "learn_temperature", "objective", "line"),
    [
        (LossConfig(parallel_weight=0.5), False, None, "loss.parallel_weight 0.5 trains nothing: set it to 0"),
        (
            LossConfig(directions="both", kl_weight=0.2),
            False,
            None,
            "loss.kl_weight 0.2 trains nothing: set it to 0",
        ),
        (LossConfig(), True, None, "model.learn_temperature true trains nothing: set it to false"),
        (LossConfig(), False, "mine.hinge", "the objective mine.hinge trains nothing: leave it out"),
    ],
)
def test_what_distillation_alone_would_not_train_is_refused(loss, learn_temperature: bool, objective, line: str):
    asked = loss, learn_temperature, objective
    with pytest.raises(ValueError) as error:
        check_trained(DistillationConfig(store="somewhere"), *asked)
    where = "with distillation.weight 1, where the teacher's vectors are the whole loss"
    assert str(error.value) == (
        line.replace("nothing:", f"nothing {where}:") + ", or set distillation.weight below 1, such as 0.8"
    )
    check_trained(DistillationConfig(store="somewhere", weight=0.9), *asked)
    check_trained(DistillationConfig(), *asked)


def test_a_run_and_its_plan_refuse_it_before_they_read_data(taught: Taught, tmp_path: Path):
    def hinge(vectors: Vectors, groups: Groups) -> jax.Array:
        return vectors.queries.sum()

    with pytest.raises(ValueError, match=r"^the objective \S*hinge trains nothing with distillation"):
        train(taught.config, tmp_path / "run", hooks=Hooks(objective=hinge))
    model = taught.config.model.model_copy(update={"learn_temperature": True})
    config = taught.config.model_copy(update={"model": model})
    for start in (partial(train, config, tmp_path / "run"), partial(plan, config, False, print)):
        with pytest.raises(ValueError, match=r"^model\.learn_temperature true trains nothing"):
            start()
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_the_outline_says_what_is_trained_on(taught: Taught):
    for weight, start in ((1, "only the teacher's vectors are trained on; for the accuracy"), (0.5, "each query sees")):
        lines: list[str] = []
        plan(_with(taught.config, weight=weight).model_copy(update={"microbatch_rows": None}), False, lines.append)
        (batch,) = (line for line in lines if line.startswith("  batch "))
        assert batch.split(maxsplit=1)[1].startswith(start)
        assert "each query sees 7 negatives" in batch


def _with(config: Config, **fields: object) -> Config:
    return config.model_copy(update={"distillation": config.distillation.model_copy(update=fields)})


def test_what_the_teacher_cannot_serve_is_refused(taught: Taught, tmp_path: Path, tiny_run):
    config, stores = taught.config, _pipeline(taught.config).stores
    refuse = partial(Teacher, stores=stores, dim=16)
    with pytest.raises(DataError, match=r"have 16 numbers and the student's 24: set model\.projection_dim to 16"):
        Teacher(config.distillation, stores, 24)
    with pytest.raises(DataError, match="'tiny' has no passage in th, so that the teacher says nothing of it"):
        refuse(config.distillation.model_copy(update={"language": "th"}))
    notes = refuse(config.distillation.model_copy(update={"language": "th", "weight": 0.5})).notes
    assert notes == ["tiny: the teacher has vectors of 0 of 36 records, by their text in th"]
    with pytest.raises(DataError, match=r"teacher\.store lacks 36 of the 36 de texts of dataset 'tiny': `python -m"):
        refuse(config.distillation.model_copy(update={"language": "de"}))
    with pytest.raises(StoreError, match="nowhere is not a store"):
        refuse(DistillationConfig(store=str(tmp_path / "nowhere")))
    (tmp_path / "named.jsonl").write_text('{"_id": "house", "text": "a house"}\n')
    names = [str(tmp_path / name) for name in ("named.jsonl", "named")]
    assert corpus.main(["--ckpt", str(tiny_run.folder), "--corpus", names[0], "--out", names[1]]) == 0
    with pytest.raises(DataError, match="its ids are no hashes of texts"):
        refuse(DistillationConfig(store=str(tmp_path / "named")))


def test_a_run_is_not_resumed_with_another_teacher(taught: Taught, tmp_path: Path):
    """The same folder, made again with smaller numbers."""
    copy = Path(shutil.copytree(taught.folder, tmp_path / "run"))
    kept = Path(shutil.move(taught.store, tmp_path / "kept"))
    try:
        teacher = str(json.loads((kept / "manifest.json").read_text())["facts"]["folder"])
        texts = str(taught.store.parent / "texts.jsonl.gz")
        command = ["--ckpt", teacher, "--corpus", texts, "--out", str(taught.store), "--dtype", "int8"]
        assert corpus.main(command) == 0
        with pytest.raises(WorkdirError, match="the teacher's vectors"):
            train(taught.config, copy)
    finally:
        shutil.rmtree(taught.store)
        shutil.move(kept, taught.store)


def test_a_second_store_is_for_queries(taught: Taught, tmp_path: Path, tiny_run):
    base = parse_config(tiny_run.yaml)
    queries = _prepared(base, tmp_path, tiny_run.folder, "--side", "queries")
    pipeline, encoder = _pipeline(base), load(tiny_run.folder)
    config = DistillationConfig(store=str(taught.store), query_store=str(queries))
    batch = pipeline.batch(0)
    vectors = Teacher(config, pipeline.stores, 16).vectors(batch)
    only = Teacher(taught.config.distillation, pipeline.stores, 16).vectors(batch)
    np.testing.assert_array_equal(vectors.passages, only.passages)
    assert np.abs(vectors.queries - only.queries).max() > 1e-3  # another prompt
    with pytest.raises(ValueError, match="without store"):
        DistillationConfig(query_store="queries")
    assert encoder.rules.query_prompt != encoder.rules.passage_prompt
