"""The learning rate's values, what decays, and what accumulation and clipping do."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hybrid_jax.model.bert.encoder import BertConfig
from hybrid_jax.model.dual_encoder import ModelConfig, abstract
from hybrid_jax.train.optim import OptimizerConfig, decays, make_optimizer, make_schedule


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
    updates, _ = jax.jit(lambda p: optimizer.update(zeros, optimizer.init(p), p))(parameters)
    np.testing.assert_allclose(updates["kernel"], -0.1 * 0.5 * np.ones((2, 2)), rtol=1e-6)
    np.testing.assert_array_equal(updates["bias"], np.zeros(2))


def run(config: OptimizerConfig, gradients: list[float]) -> np.ndarray:
    optimizer = make_optimizer(config, total_steps=len(gradients))
    parameters = {"kernel": jnp.ones((2, 2))}
    state = optimizer.init(parameters)

    @jax.jit
    def step(parameters, state, gradient):
        updates, state = optimizer.update({"kernel": jnp.full((2, 2), gradient)}, state, parameters)
        return optax.apply_updates(parameters, updates), state

    for gradient in gradients:
        parameters, state = step(parameters, state, gradient)
    return np.asarray(parameters["kernel"])


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
