"""The learning rate's values, what decays, and what accumulation and clipping do."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from hybrid_jax.model.bert.encoder import BertConfig
from hybrid_jax.model.dual_encoder import ModelConfig, abstract
from hybrid_jax.runtime.mesh import MeshConfig, make_mesh, parameter_sharding
from hybrid_jax.train.optim import OptimizerConfig, decays, make_optimizer, make_schedule

NO_TOKENS = jnp.zeros(0, jnp.int32)


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        ("linear", [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]),
        ("cosine", [0.5, 1.0, 1.0, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2]),
        ("constant", [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_schedule_by_hand(schedule, values: list[float]):
    rate = make_schedule(OptimizerConfig(learning_rate=0.2, warmup_steps=2, schedule=schedule), total_steps=6)
    np.testing.assert_allclose([rate(step) for step in range(6)], 0.2 * np.array(values), rtol=1e-6)


def test_schedule_counts_batches_under_accumulation():
    plain = make_schedule(OptimizerConfig(warmup_steps=4), total_steps=12)
    accumulated = make_schedule(OptimizerConfig(warmup_steps=4, accumulate=3), total_steps=12)
    assert [float(accumulated(step)) for step in range(12)] == [float(plain(step // 3 * 3)) for step in range(12)]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            OptimizerConfig(warmup_steps=11),
            "optimizer.warmup_steps 11 exceeds the run's 10 steps: set it",
        ),
        (
            OptimizerConfig(warmup_steps=0, accumulate=4),
            "10 is not a multiple of optimizer.accumulate 4.* run 8 steps",
        ),
        (
            OptimizerConfig(warmup_steps=0, accumulate=2, lazy_embeddings=True),
            "lazy_embeddings updates the rows of one batch, but optimizer.accumulate 2 .* set accumulate to 1",
        ),
        (OptimizerConfig(warmup_steps=0, accumulate=16), "steps 10 is not a multiple .* run 16 steps"),
    ],
)
def test_impossible_runs_are_refused(config: OptimizerConfig, message: str):
    with pytest.raises(ValueError, match=message):
        make_optimizer(config, total_steps=10)


def test_only_matrices_decay():
    encoder = BertConfig(vocab_size=11, hidden_size=8, num_layers=1, num_heads=2, intermediate_size=16, max_length=4)
    _, parameters = abstract(ModelConfig(encoder=encoder, projection_dim=4, learn_temperature=True))
    mask = {
        jax.tree_util.keystr(path): decay for path, decay in jax.tree_util.tree_leaves_with_path(decays(parameters))
    }
    assert {name for name, decay in mask.items() if decay} == {
        name for name in mask if name.endswith(("'kernel']", "'embedding']"))
    }
    assert not mask["['log_temperature_above_floor']"]


def test_decay_moves_only_matrices():
    config = OptimizerConfig(learning_rate=0.1, warmup_steps=0, schedule="constant", weight_decay=0.5)
    optimizer = make_optimizer(config, total_steps=1)
    parameters = {"kernel": np.ones((2, 2), np.float32), "bias": np.ones(2, np.float32)}
    zeros = jax.tree.map(np.zeros_like, parameters)
    decayed, _, _ = jax.jit(lambda p: optimizer.apply(p, zeros, optimizer.init(p), NO_TOKENS))(parameters)
    np.testing.assert_allclose(decayed["kernel"], (1 - 0.1 * 0.5) * np.ones((2, 2)), rtol=1e-6)
    np.testing.assert_array_equal(decayed["bias"], np.ones(2))


def run(config: OptimizerConfig, gradients: list[float]) -> np.ndarray:
    optimizer = make_optimizer(config, total_steps=len(gradients))
    parameters = {"kernel": jnp.ones((2, 2))}
    state = optimizer.init(parameters)

    @jax.jit
    def step(parameters, state, gradient):
        return optimizer.apply(parameters, {"kernel": jnp.full((2, 2), gradient)}, state, NO_TOKENS)[:2]

    for gradient in gradients:
        parameters, state = step(parameters, state, gradient)
    return np.asarray(parameters["kernel"])


def test_the_moments_decay_as_configured():
    """Adam's equations (arXiv 1412.6980, algorithm 1) in numpy."""
    config = OptimizerConfig(
        learning_rate=0.1, warmup_steps=0, schedule="constant", beta1=0.3, beta2=0.5, eps=0.1, clip_norm=None,
        weight_decay=0.0,
    )  # fmt: skip
    value, first, second = 1.0, 0.0, 0.0
    for count, gradient in enumerate([1.0, -3.0, 0.5], 1):
        first, second = 0.3 * first + 0.7 * gradient, 0.5 * second + 0.5 * gradient**2
        value -= 0.1 * first / (1 - 0.3**count) / (np.sqrt(second / (1 - 0.5**count)) + 0.1)
    np.testing.assert_allclose(run(config, [1.0, -3.0, 0.5]), np.full((2, 2), value), rtol=1e-5)


def test_accumulation_is_one_update_with_the_mean_gradient():
    # eps as large as the gradients, so that Adam's step depends on their size.
    common = {"warmup_steps": 0, "schedule": "constant", "learning_rate": 0.1, "eps": 1.0, "clip_norm": None}
    accumulated = run(OptimizerConfig(accumulate=2, **common), [1.0, 3.0, 0.0, -1.0])
    plain = run(OptimizerConfig(**common), [2.0, -0.5])
    np.testing.assert_allclose(accumulated, plain, rtol=1e-6)


def test_clipping_bounds_the_gradient_norm():
    common = {"warmup_steps": 0, "schedule": "constant", "learning_rate": 0.1, "eps": 1.0}
    # A 2 x 2 matrix of x has norm 2 |x|: 50 is cut to 0.5, 0.1 stays.
    cut, asked = (run(OptimizerConfig(clip_norm=1.0, **common), [gradient]) for gradient in (50.0, 0.5))
    np.testing.assert_allclose(cut, asked, rtol=1e-6)
    below, never = (run(OptimizerConfig(clip_norm=norm, **common), [0.1]) for norm in (1.0, None))
    np.testing.assert_array_equal(below, never)


def table_of(parameters) -> Any:
    return parameters["tower"]["embeddings"]["word"]["embedding"]


LAZY = {"warmup_steps": 0, "schedule": "constant", "learning_rate": 0.1, "weight_decay": 0.2, "clip_norm": 0.5}
VOCABULARY, WIDTH = 12, 3


def lazy_start() -> Any:
    random = np.random.default_rng(0)
    table, kernel = random.normal(size=(VOCABULARY, WIDTH)), random.normal(size=(WIDTH, 2))
    tree = {"tower": {"embeddings": {"word": {"embedding": table}}, "kernel": kernel}}
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), tree)


def _place(mesh: Mesh, leaf: jax.Array) -> jax.Array:
    return jax.device_put(leaf, parameter_sharding(mesh, leaf.shape))


def gradients_of(number: int, tokens: np.ndarray) -> Any:
    gradients = jax.tree.map(lambda leaf: jnp.cos(leaf + number), lazy_start())
    gradients["tower"]["embeddings"]["word"]["embedding"] *= np.isin(np.arange(VOCABULARY), tokens)[:, None]
    return gradients


def steps_of(config: OptimizerConfig, batches: list[np.ndarray], mesh: Mesh | None = None) -> list[Any]:
    """(parameters, state, gradient norm) before the first and after each step of batches of these tokens."""

    def placed(tree: Any) -> Any:
        return tree if mesh is None else jax.tree.map(partial(_place, mesh), tree)

    optimizer = make_optimizer(config, len(batches))
    parameters = lazy_start()
    states = [placed((parameters, optimizer.init(parameters), jnp.zeros(())))]
    step = jax.jit(optimizer.apply)
    for number, tokens in enumerate(batches):
        arguments = states[-1][0], placed(gradients_of(number, tokens)), states[-1][1], placed(jnp.asarray(tokens))
        if mesh is not None:  # no device is sent the whole table
            assert f"f32[{VOCABULARY},{WIDTH}]" not in str(step.lower(*arguments).compile().as_text())
        states.append(step(*arguments))
    return states


BATCHES = [np.array([[5, 2], [5, 9]]), np.array([[2, 2], [0, 11]]), np.array([[9, 7], [1, 5]])]


def test_lazy_is_adamw_where_every_token_is_in_the_batch():
    batches = [np.random.default_rng(seed).permutation(VOCABULARY).reshape(3, 4) for seed in range(3)]
    lazy, dense = (steps_of(OptimizerConfig(lazy_embeddings=lazy, **LAZY), batches) for lazy in (True, False))
    jax.tree.map(np.testing.assert_array_equal, lazy, dense)


def test_lazy_by_rows_in_numpy():
    config = OptimizerConfig(lazy_embeddings=True, **LAZY)
    states = steps_of(config, BATCHES)
    start = lazy_start()
    table, kernel = np.asarray(table_of(start), np.float64), np.asarray(start["tower"]["kernel"], np.float64)
    mean, square = np.zeros_like(table), np.zeros_like(table)
    gradient_table, gradient_kernel = table.copy(), kernel.copy()  # gradients are cos(start + step) of these
    for number, tokens in enumerate(BATCHES):
        rows = sorted(set(tokens.ravel().tolist()))
        gradient = np.cos(gradient_table[rows] + number)
        norm = math.sqrt((gradient**2).sum() + (np.cos(gradient_kernel + number) ** 2).sum())
        np.testing.assert_allclose(states[number + 1][2], norm, rtol=1e-6)
        gradient *= min(1, 0.5 / norm)
        mean[rows] = 0.9 * mean[rows] + 0.1 * gradient
        square[rows] = 0.999 * square[rows] + 0.001 * gradient**2
        unbiased = mean[rows] / (1 - 0.9 ** (number + 1)), square[rows] / (1 - 0.999 ** (number + 1))
        table[rows] -= 0.1 * (unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8) + 0.2 * table[rows])
        np.testing.assert_allclose(table_of(states[number + 1][0]), table, rtol=1e-4, atol=1e-5)


def test_lazy_leaves_the_other_rows_alone_and_updates_the_other_parameters():
    states = steps_of(OptimizerConfig(lazy_embeddings=True, **LAZY), BATCHES)
    dense = steps_of(OptimizerConfig(**LAZY), BATCHES)
    for tokens, before, after, exact in zip(BATCHES, states, states[1:], dense[1:], strict=False):
        untouched = ~np.isin(np.arange(VOCABULARY), tokens)
        changed = [
            (one[untouched], other[untouched], one[~untouched], other[~untouched])
            for one, other in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
            if np.shape(one) == (VOCABULARY, WIDTH)
        ]
        assert len(changed) == 3  # the table and its two moments
        for kept, still, old, new in changed:
            np.testing.assert_array_equal(kept, still)
            assert (old != new).all()
        np.testing.assert_allclose(after[0]["tower"]["kernel"], exact[0]["tower"]["kernel"], rtol=1e-6)
    assert not np.array_equal(table_of(states[-1][0]), table_of(dense[-1][0]))


def test_lazy_state_is_that_of_adamw():
    states = [
        make_optimizer(OptimizerConfig(lazy_embeddings=lazy, **LAZY), 1).init(lazy_start()) for lazy in (False, True)
    ]
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_lazy_on_a_split_table():
    config = OptimizerConfig(lazy_embeddings=True, **LAZY)
    split = steps_of(config, BATCHES, make_mesh(MeshConfig(data=4, fsdp=2)))
    assert {shard.data.shape for shard in table_of(split[0][0]).addressable_shards} == {(VOCABULARY // 2, WIDTH)}
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7),
        jax.device_get(split),
        jax.device_get(steps_of(config, BATCHES)),
    )


def test_lazy_needs_a_word_embedding():
    optimizer = make_optimizer(OptimizerConfig(lazy_embeddings=True, **LAZY), 1)
    parameters = {"kernel": jnp.ones((2, 2))}
    with pytest.raises(ValueError, match=r"lazy_embeddings needs word embeddings .* found the sizes \[\]"):
        optimizer.apply(parameters, parameters, optimizer.init(parameters), jnp.zeros(2, jnp.int32))
