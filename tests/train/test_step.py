"""The step on any mesh equals the dense loss on one device; dropout and the state depend on the step alone."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from support.packing import packed

from hybrid_jax.data.batch import PackedBatch
from hybrid_jax.model.dual_encoder import ModelConfig, abstract, bind, initialize
from hybrid_jax.runtime.mesh import MeshConfig, make_mesh, parameter_sharding, put_batch
from hybrid_jax.train.encode import make_encode
from hybrid_jax.train.loss import LossConfig
from hybrid_jax.train.objective import make_objective
from hybrid_jax.train.optim import OptimizerConfig, make_optimizer, make_schedule
from hybrid_jax.train.state import TrainState, abstract_state, create_state
from hybrid_jax.train.step import make_eval_step, make_train_step, measure

Rows = dict[str, np.ndarray]
MESHES = [(1, 1), (2, 1), (4, 1), (8, 1), (4, 2)]
OPTIMIZER = OptimizerConfig(learning_rate=0.01, warmup_steps=2)
SEED = 7


def mesh_of(data: int, fsdp: int = 1) -> Mesh:
    return make_mesh(MeshConfig(data=data, fsdp=fsdp))


@pytest.fixture(scope="module")
def parameters(model_config: ModelConfig):
    """Drawn on one device, without a mesh."""
    return jax.device_get(jax.jit(initialize, static_argnums=0)(model_config, SEED))


@pytest.fixture(scope="module")
def dense(model_config: ModelConfig, rows: Rows, parameters):
    """Loss and gradients from their definition: no mesh, no sharding, no code of `train`."""
    code, _ = abstract(model_config)
    same = rows["query_group"][:, None] == rows["passage_group"]
    positive = np.arange(len(same)), np.arange(len(same)) * same.shape[1] // len(same)
    compared = ~same
    compared[positive] = True

    def loss_fn(parameters):
        model = bind(code, parameters)
        queries = model.encode_queries(jnp.asarray(rows["query_tokens"]), jnp.asarray(rows["query_segments"]))
        passages = model.encode_passages(jnp.asarray(rows["passage_tokens"]), jnp.asarray(rows["passage_segments"]))
        probabilities = compared * jnp.exp(queries @ passages.T / model.temperature)
        return -jnp.mean(jnp.log(probabilities[positive] / probabilities.sum(axis=1)))

    return jax.jit(jax.value_and_grad(loss_fn))(parameters)


def one_per_row(rows: Rows) -> PackedBatch:
    return packed(rows, length=6)


def loss_and_gradients(
    config: ModelConfig, parameters, rows: Rows, mesh: Mesh, loss: LossConfig, dropout: bool = False
):
    """As in the train step, with the parameters lying on the mesh as the train state's do."""
    shardings = jax.tree.map(lambda leaf: parameter_sharding(mesh, leaf.shape), parameters)
    loss_fn = partial(measure, make_encode(config, mesh), make_objective(loss, mesh))
    function = jax.jit(jax.value_and_grad(loss_fn, has_aux=True))
    key = jax.random.key(0) if dropout else None
    (value, metrics), gradients = function(
        jax.device_put(parameters, shardings), put_batch(mesh, one_per_row(rows)), key
    )
    return value, metrics, gradients


def assert_close(gradients, expected) -> None:
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(expected))
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=0, atol=2e-6 * largest),
        jax.device_get(gradients),
        jax.device_get(expected),
    )


@pytest.mark.parametrize(("data", "fsdp"), MESHES)
def test_every_mesh_equals_the_dense_loss(model_config, parameters, rows, dense, data: int, fsdp: int):
    loss, metrics, gradients = loss_and_gradients(model_config, parameters, rows, mesh_of(data, fsdp), LossConfig())
    np.testing.assert_allclose(loss, dense[0], rtol=1e-5)
    assert_close(gradients, dense[1])
    # 31 others per query; three rows share a group (each masks 2 positives) and one hard negative is masked for row 12.
    assert metrics["masked"] == 7 / 16
    assert metrics["negatives"] == 31 - 7 / 16


def test_local_negatives_differ(model_config, parameters, rows, dense):
    local = LossConfig(negatives="local")
    loss, metrics, gradients = loss_and_gradients(model_config, parameters, rows, mesh_of(4), local)
    assert metrics["negatives"] == 7 - 2 / 16  # of the false negatives, only rows 0 and 1 meet on one device
    assert abs(loss - dense[0]) > 0.1
    with pytest.raises(AssertionError):
        assert_close(gradients, dense[1])


def test_dropout_is_the_same_on_any_number_of_devices(model_config, parameters, rows, dense):
    one, eight = (
        loss_and_gradients(model_config, parameters, rows, mesh_of(*shape), LossConfig(directions="both"), dropout=True)
        for shape in [(1, 1), (4, 2)]
    )
    np.testing.assert_allclose(eight[0], one[0], rtol=1e-5)
    assert_close(eight[2], one[2])
    with pytest.raises(AssertionError):
        assert_close(one[2], dense[1])


@pytest.fixture(scope="module")
def trained(model_config: ModelConfig, rows: Rows):
    """Three steps on one batch on 4 x 2 devices: the states before and after each, and the metrics."""
    mesh = mesh_of(4, 2)
    optimizer = make_optimizer(OPTIMIZER, 10)
    schedule = make_schedule(OPTIMIZER, 10)
    encode, objective = make_encode(model_config, mesh), make_objective(LossConfig(), mesh)
    step = make_train_step(encode, objective, optimizer, schedule, SEED, mesh)
    state, batch = create_state(model_config, optimizer, SEED, mesh), put_batch(mesh, one_per_row(rows))
    states, metrics = [jax.device_get(state)], []
    for _ in range(3):
        state, measured = step(state, batch)
        states.append(jax.device_get(state))
        metrics.append({name: float(value) for name, value in measured.items()})
    return step, batch, state, states, metrics


def test_metrics_are_those_of_this_step(trained):
    *_, metrics = trained
    np.testing.assert_allclose([m["learning_rate"] for m in metrics], [0.005, 0.01, 0.01], rtol=1e-6)
    assert all(np.isfinite(list(m.values())).all() for m in metrics)
    np.testing.assert_allclose(metrics[0]["temperature"], 0.05, rtol=1e-6)
    assert metrics[1]["temperature"] != metrics[0]["temperature"]
    assert all(m["grad_norm"] > 0 for m in metrics)


def test_a_step_is_a_pure_function_of_the_state(trained):
    step, batch, last, states, metrics = trained
    resumed, measured = step(jax.device_put(states[1], jax.tree.map(lambda leaf: leaf.sharding, last)), batch)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(resumed), states[2])
    assert {name: float(value) for name, value in measured.items()} == metrics[1]


def test_dropout_differs_from_step_to_step(trained):
    step, batch, last, states, metrics = trained
    shardings = jax.tree.map(lambda leaf: leaf.sharding, last)
    later = states[0]._replace(step=np.int32(1))  # the same parameters, one step later
    _, measured = step(jax.device_put(later, shardings), batch)
    assert float(measured["loss"]) != metrics[0]["loss"]


def test_dropout_differs_from_seed_to_seed(model_config: ModelConfig, rows: Rows):
    mesh = mesh_of(1)
    optimizer, schedule = make_optimizer(OPTIMIZER, 10), make_schedule(OPTIMIZER, 10)
    encode, objective = make_encode(model_config, mesh), make_objective(LossConfig(), mesh)
    batch = put_batch(mesh, one_per_row(rows))
    losses = []
    for seed in (1, 2):
        step = make_train_step(encode, objective, optimizer, schedule, seed, mesh)
        _, measured = step(create_state(model_config, optimizer, SEED, mesh), batch)  # the same parameters
        losses.append(float(measured["loss"]))
    assert losses[0] != losses[1]


def test_the_state_stays_where_it_is_and_nothing_compiles_twice(trained, model_config):
    step, _, last, *_ = trained
    promised = abstract_state(model_config, make_optimizer(OPTIMIZER, 10), mesh_of(4, 2))
    jax.tree.map(
        lambda shape, leaf: np.testing.assert_equal(
            (shape.shape, shape.dtype, shape.sharding.is_equivalent_to(leaf.sharding, leaf.ndim)),
            (leaf.shape, leaf.dtype, True),
        ),
        promised,
        last,
    )
    word = last.parameters["tower"]["encoder"]["embeddings"]["word"]["embedding"]
    assert {shard.data.shape for shard in word.addressable_shards} == {(12, 8)}  # 24 words over fsdp 2
    assert step._cache_size() == 1
    assert isinstance(last, TrainState)


def test_a_fresh_state_is_the_same_on_a_mesh_as_without_one(trained, parameters):
    jax.tree.map(np.testing.assert_array_equal, trained[3][0].parameters, parameters)


def test_the_eval_step_has_no_dropout(model_config, parameters, rows, dense):
    mesh = mesh_of(2)
    eval_step = make_eval_step(make_encode(model_config, mesh), make_objective(LossConfig(), mesh), mesh)
    metrics = eval_step(parameters, put_batch(mesh, one_per_row(rows)))
    np.testing.assert_allclose(metrics["loss"], dense[0], rtol=1e-5)


def test_lazy_embeddings_change_the_rows_of_the_batch_only(model_config, rows):
    lazy = OPTIMIZER.model_copy(update={"lazy_embeddings": True})
    few = {name: array % 12 if name.endswith("tokens") else array for name, array in rows.items()}
    tokens = np.unique(one_per_row(few).sides[0].tokens)
    finals = []
    for mesh in (mesh_of(1), mesh_of(4, 2)):
        optimizer = make_optimizer(lazy, 10)
        encode, objective = make_encode(model_config, mesh), make_objective(LossConfig(), mesh)
        step = make_train_step(encode, objective, optimizer, make_schedule(lazy, 10), SEED, mesh)
        first = create_state(model_config, optimizer, SEED, mesh)
        before = jax.device_get(first.parameters)
        finals.append(jax.device_get(step(first, put_batch(mesh, one_per_row(few)))[0].parameters))
        old, new = (tree["tower"]["encoder"]["embeddings"]["word"]["embedding"] for tree in (before, finals[-1]))
        np.testing.assert_array_equal(np.flatnonzero((old != new).any(axis=1)), tokens)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=0, atol=1e-5), *finals)


def test_accumulation_of_chunks_is_that_of_whole_batches(model_config, rows):
    accumulating = OPTIMIZER.model_copy(update={"accumulate": 2})
    shifted = {name: np.roll(array, 1, axis=0) if name.startswith("query") else array for name, array in rows.items()}
    mesh, finals = mesh_of(1), []
    for microbatch_rows in (None, 4):
        optimizer = make_optimizer(accumulating, 10)
        encode, objective = make_encode(model_config, mesh), make_objective(LossConfig(), mesh)
        step = make_train_step(encode, objective, optimizer, make_schedule(accumulating, 10), SEED, mesh)
        state = create_state(model_config, optimizer, SEED, mesh)
        before = jax.device_get(state.parameters)
        batches = [packed(texts, 14, 4, devices=1, microbatch_rows=microbatch_rows) for texts in (rows, shifted)]
        assert (len(batches[0].sides[0].tokens) > 1) == (microbatch_rows is not None)
        state, _ = step(state, put_batch(mesh, batches[0]))
        jax.tree.map(np.testing.assert_array_equal, jax.device_get(state.parameters), before)
        state, _ = step(state, put_batch(mesh, batches[1]))
        finals.append(jax.device_get(state.parameters))
        assert any((old != new).any() for old, new in zip(*map(jax.tree.leaves, (before, finals[-1])), strict=True))
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=0, atol=1e-5), *finals)
