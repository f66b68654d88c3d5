"""A loss that is no number or jumps: the run stops and says where, or goes back and leaves the batches out."""

import json
import shutil
from pathlib import Path
from statistics import median

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.runs import assert_equal_runs, log_of

from hybrid_jax.config import Config, parse_config
from hybrid_jax.data.pipeline import Pipeline
from hybrid_jax.embed.load import load
from hybrid_jax.runs.checkpoint import CheckpointError, Checkpoints, restore, steps
from hybrid_jax.runs.skips import Skip, Skips, read_skips
from hybrid_jax.runs.trained_on import read_trained_on
from hybrid_jax.runs.workdir import WorkdirError
from hybrid_jax.runtime.mesh import make_mesh
from hybrid_jax.train.divergence import LEAST, WINDOW, DivergedError, Divergence, DivergenceConfig
from hybrid_jax.train.hooks import Hooks
from hybrid_jax.train.loop import train
from hybrid_jax.train.objective import Groups, Vectors
from hybrid_jax.train.optim import make_optimizer
from hybrid_jax.train.state import TrainState, abstract_state


@pytest.fixture(scope="module")
def config(tiny_run) -> Config:
    return parse_config(tiny_run.yaml)


@pytest.fixture(scope="module")
def state(tiny_run, config: Config) -> TrainState:
    like = abstract_state(config.model, make_optimizer(config.optimizer, config.steps), make_mesh(config.mesh))
    return restore(tiny_run.folder / "checkpoints", like, pytest.fail, 60)[1]


def test_a_loss_that_is_no_number_stops_the_run(config: Config, tmp_path: Path):
    wild = config.optimizer.model_copy(update={"learning_rate": 1e30, "warmup_steps": 0})
    run = tmp_path / "run"
    with pytest.raises(
        DivergedError, match=r"step \d: loss nan, .*diverged_at_step_\d.json: .*learning_rate"
    ) as raised:
        train(config.model_copy(update={"optimizer": wild}), run)
    assert "\n" not in str(raised.value)
    step = raised.value.step
    record = json.loads((run / f"diverged_at_step_{step}.json").read_text(), parse_constant=pytest.fail)
    batch = Pipeline(config.data, config.mixture, config.batch_size, config.seed).batch(step)
    assert (record["step"], record["rows"], record["ids"], record["loss"]) == (step, batch.digest, batch.ids, "nan")
    last = (run / "metrics.jsonl").read_text().splitlines()[-1]
    assert json.loads(last, parse_constant=pytest.fail)["loss"] is None  # NaN is not JSON
    assert steps(run / "checkpoints") == []


@jax.custom_jvp
def _steep(score: jax.Array) -> jax.Array:
    return score


@_steep.defjvp
def _steep_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    return primals[0], tangents[0] * jnp.inf


def test_a_gradient_that_is_not_finite_stops_the_run(config: Config, tmp_path: Path):
    def objective(vectors: Vectors, groups: Groups) -> jax.Array:
        return _steep(jnp.sum(vectors.queries * vectors.passages))

    with pytest.raises(DivergedError, match=r"step 0: loss -?\d+\.\d+, gradient norm (inf|nan)"):
        train(config, tmp_path / "run", hooks=Hooks(objective=objective))


def spiky(config: Config, log: list[dict]) -> tuple[int, Config]:
    """The step with the highest loss against those before it, and a config by which only that one diverges."""
    losses = [line["loss"] for line in log]
    ratios = {n: losses[n] / median(losses[max(0, n - WINDOW) : n]) for n in range(LEAST, len(losses) - 1)}
    second, first = sorted(ratios.values())[-2:]
    divergence = config.divergence.model_copy(update={"spike": (first + second) / 2, "then": "skip"})
    return max(ratios, key=lambda n: ratios[n]), config.model_copy(update={"divergence": divergence})


def counts_of(optimizer: optax.OptState, kind: type) -> list[int]:
    """The counts of the parts of one kind."""
    parts = jax.tree.leaves(optimizer, is_leaf=lambda part: isinstance(part, kind))
    return [int(part.count) for part in parts if isinstance(part, kind)]


def test_a_run_goes_back_leaves_batches_out_and_can_be_resumed(
    tiny_run, config: Config, state: TrainState, tmp_path: Path, capsys
):
    log = log_of(tiny_run.folder)
    worst, config = spiky(config, log)
    run = tmp_path / "run"
    assert train(config, run)
    first = worst // config.checkpoint.every * config.checkpoint.every
    assert f"back to step {first}, leaving out the batches of steps {first} to {worst} (1 of" in capsys.readouterr().out
    skips = read_skips(run)
    assert (skips.skipped[0].first, skips.skipped[0].last) == (first, worst)
    trained = [line["step"] for line in log_of(run)]
    assert trained == [step for step in range(config.steps) if step not in skips]
    # Up to there the same run; then the same batches, rates and dropout as ever, with other losses.
    assert [line["loss"] for line in log_of(run)[:first]] == [line["loss"] for line in log[:first]]
    for line in log_of(run)[first:]:
        assert (line["rows"], line["learning_rate"]) == (log[line["step"]]["rows"], log[line["step"]]["learning_rate"])
        assert line["loss"] != log[line["step"]]["loss"]
    counts = read_trained_on(run / "metrics.jsonl", config.steps)
    assert counts is not None
    assert counts.logged + counts.skipped == config.steps
    # The optimizer's own counts, which the bias correction and the learning rate are computed from.
    optimizer = restore(run / "checkpoints", state, pytest.fail)[1].optimizer
    assert set(counts_of(optimizer, optax.ScaleByScheduleState)) == {config.steps}
    assert set(counts_of(optimizer, optax.ScaleByAdamState)) == {counts.logged}

    resumed = Path(shutil.copytree(run, tmp_path / "resumed"))
    for step in steps(resumed / "checkpoints")[1:]:
        shutil.rmtree(resumed / "checkpoints" / str(step))
    assert train(config, resumed)
    assert_equal_runs(resumed, run, config)
    assert read_skips(resumed) == skips


def test_a_loss_below_zero_jumps_only_when_it_is_far_above_the_others(config: Config, tmp_path: Path):
    """As of an objective of one's own that is minus a mean score."""
    batch = Pipeline(config.data, config.mixture, config.batch_size, config.seed).batch(0)
    divergence = Divergence(tmp_path, DivergenceConfig(spike=3), 0)
    for loss in [-0.5] * LEAST + [-0.1, 0.4]:  # three times the median is as far above it: -0.5 + 2 x 0.5
        divergence.check(batch, {"loss": loss, "grad_norm": 1.0})
    with pytest.raises(DivergedError):
        divergence.check(batch, {"loss": 0.6, "grad_norm": 1.0})


def test_it_stops_when_it_went_back_as_often_as_it_may(config: Config, tmp_path: Path):
    divergence = config.divergence.model_copy(update={"spike": 1.01, "then": "skip", "most_skips": 1})
    with pytest.raises(DivergedError, match=r"step \d+: loss .*, and the run has gone back 1 of 1 times; its rows"):
        train(config.model_copy(update={"divergence": divergence}), tmp_path / "run")
    (skip,) = read_skips(tmp_path / "run").skipped
    assert LEAST <= skip.last < max(line["step"] for line in log_of(tmp_path / "run"))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_checkpoint_with_numbers_that_are_not_finite_is_refused_by_all(
    tiny_run, config: Config, state: TrainState, tmp_path: Path, capsys, value: float
):
    run = tmp_path / "run"
    shutil.copytree(tiny_run.folder, run, ignore=shutil.ignore_patterns("checkpoints"))
    leaves, tree = jax.tree.flatten(state.parameters)
    leaves[0] = leaves[0].at[(0,) * leaves[0].ndim].set(value)
    folder = run / "checkpoints"
    with Checkpoints(folder, config.checkpoint, start=0) as checkpoints:
        checkpoints.save(60, state, {"heldout_loss": 1.0})
        checkpoints.save(70, state._replace(parameters=jax.tree.unflatten(tree, leaves)), {"heldout_loss": 0.5})
    with pytest.raises(CheckpointError, match=r"70 is damaged \(.* holds values that are not finite numbers\)"):
        load(str(run), step=70)
    with pytest.warns(UserWarning, match="not finite numbers.: taking the checkpoint before it"):
        load(str(run))
    assert train(config, run)
    assert "taking the checkpoint before it" in capsys.readouterr().out
    assert_equal_runs(run, tiny_run.folder, config)


def test_a_damaged_list_of_skips_is_one_line(tmp_path: Path):
    Skips(skipped=(Skip(first=3, last=5, reason="x"),)).write(tmp_path)
    skips = read_skips(tmp_path)
    assert [step for step in range(9) if step in skips] == [3, 4, 5]
    assert [skips.before(step) for step in (3, 4, 9)] == [0, 1, 3]
    (tmp_path / "skipped.json").write_text('{"skipped": [{"first": -1}]}')
    with pytest.raises(WorkdirError, match=r"skipped.json is damaged .*: restore it"):
        read_skips(tmp_path)
