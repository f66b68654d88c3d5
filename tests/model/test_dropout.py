"""Dropout: its share and mean, independence of its masks, and that a text keeps its mask wherever it stands."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.noise import noise_of

from hybrid_jax.model.dropout import dropout, fold, kept_weights

TEXTS = jnp.arange(64)[:, None]
SEGMENTS = jnp.ones((64, 40), jnp.int32)
ONES = jnp.ones((64, 40, 97))


@partial(jax.jit, static_argnums=(1, 2))
def kept(seed: int, rate: float, place: int = 0):
    """Which values and which attention weights of 4 heads are kept."""
    noise = fold(noise_of(jax.random.key(seed), SEGMENTS, TEXTS), place)
    return dropout(ONES, rate, noise), kept_weights(4, rate, noise)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(rate: float):
    values, weights = (np.asarray(part) for part in kept(0, rate))
    assert set(np.unique(values)) == {np.float32(0), np.float32(1 / (1 - rate))}
    deviation = np.sqrt(rate * (1 - rate))
    assert abs((values == 0).mean() - rate) < 5 * deviation / np.sqrt(values.size)
    assert abs((~weights).mean() - rate) < 5 * deviation / np.sqrt(weights.size)


def test_bfloat16_values_are_scaled_up_by_the_whole_factor():
    values = jnp.linspace(1, 2, ONES.size).reshape(ONES.shape).astype(jnp.bfloat16)  # all mantissas
    scaled = dropout(values, 0.1, noise_of(jax.random.key(0), SEGMENTS, TEXTS))
    left = np.asarray(scaled != 0)
    factor = np.asarray(scaled, np.float64)[left].sum() / np.asarray(values, np.float64)[left].sum()
    assert factor == pytest.approx(1 / 0.9, rel=3e-4)  # of 1 / 0.9 in bfloat16 it would be .0016 less


def test_masks_of_texts_positions_features_heads_places_and_steps_are_independent():
    values, weights = (np.asarray(part) != 0 for part in kept(0, 0.5))
    above, below = np.triu_indices(40, k=1)
    pairs = {
        "text": (values[1:], values[:-1]),
        "position": (values[:, 1:], values[:, :-1]),
        "feature": (values[..., 1:], values[..., :-1]),
        "head": (weights[:, 1:], weights[:, :-1]),
        "from": (weights[:, :, 1:], weights[:, :, :-1]),
        "to": (weights[..., 1:], weights[..., :-1]),
        "both ends": (weights[..., 1:, 1:] ^ weights[..., :-1, :-1], weights[..., 1:, :-1] ^ weights[..., :-1, 1:]),
        "there and back": (weights[..., above, below], weights[..., below, above]),
        "place in the model": (values, np.asarray(kept(0, 0.5, 1)[0]) != 0),
        "step": (values, np.asarray(kept(1, 0.5)[0]) != 0),
        "place in the model, weights": (weights, np.asarray(kept(0, 0.5, 1)[1])),
    }
    for name, (one, other) in pairs.items():
        assert abs(correlation(one, other)) < 5 / np.sqrt(one.size), name


def test_a_text_keeps_its_masks_wherever_it_stands():
    key, width = jax.random.key(7), 33
    alone = noise_of(key, np.array([[1, 1, 1, 1, 0], [1, 1, 1, 0, 0]], np.int32), np.array([[5], [9]]))
    packed = noise_of(key, np.array([[1, 1, 1, 2, 2, 2, 2]], np.int32), np.array([[9, 5]]))
    apart, together = (dropout(jnp.ones((*n.token.shape, width)), 0.5, n) for n in (alone, packed))
    np.testing.assert_array_equal(together[0, 3:7], apart[0, :4])
    np.testing.assert_array_equal(together[0, :3], apart[1, :3])
    apart, together = (kept_weights(3, 0.5, noise) for noise in (alone, packed))
    assert apart is not None
    assert together is not None
    np.testing.assert_array_equal(together[0, :, 3:7, 3:7], apart[0, :, :4, :4])
    np.testing.assert_array_equal(together[0, :, :3, :3], apart[1, :, :3, :3])
