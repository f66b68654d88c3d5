"""Pooling by hand, unit vectors, packing, towers and the temperature's floor."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from hybrid_jax.model.bert.encoder import BertConfig
from hybrid_jax.model.dual_encoder import DualEncoder, ModelConfig, abstract, bind, initialize, pool, unit

ENCODER = BertConfig(vocab_size=23, hidden_size=16, num_layers=1, num_heads=2, intermediate_size=32, max_length=12)
TOKENS = np.array([[3, 5, 7, 0, 0], [11, 2, 0, 0, 0]], np.int32)
SEGMENTS = (TOKENS > 0).astype(np.int32)


def build(**options) -> DualEncoder:
    config = ModelConfig(encoder=ENCODER, **options)
    return bind(abstract(config)[0], jax.jit(initialize, static_argnums=0)(config, 0))


@jax.jit
def encode(model: DualEncoder, tokens, segments):
    return model.encode_queries(tokens, segments), model.encode_passages(tokens, segments)


def test_pooling_by_hand():
    hidden = np.array([[[1.0], [3.0], [10.0], [20.0], [90.0]]], np.float32)
    segments = np.array([[1, 1, 2, 2, 0]], np.int32)
    both = jax.jit(pool, static_argnums=(2, 3))
    np.testing.assert_array_equal(both(hidden, segments, "mean", 3), [[[2.0], [15.0], [0.0]]])
    np.testing.assert_array_equal(both(hidden, segments, "cls", 3), [[[1.0], [10.0], [0.0]]])


def test_unit_of_zero_is_zero_with_a_finite_gradient():
    vectors = np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)
    np.testing.assert_allclose(jax.jit(unit)(vectors), [[0.6, 0.8], [0.0, 0.0]], rtol=1e-6)
    assert np.isfinite(jax.jit(jax.grad(lambda v: unit(v).sum()))(vectors)).all()


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize(
    "projection", [{}, {"projection_dim": 6, "projection_activation": "tanh"}], ids=["plain", "projected"]
)
def test_vectors_are_float32_unit_and_the_same_packed(pooling: str, projection: dict):
    model = build(pooling=pooling, **projection)
    vectors, _ = encode(model, TOKENS, SEGMENTS)
    assert vectors.dtype == jnp.float32
    assert vectors.shape == (2, projection.get("projection_dim", 16))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)

    tokens, segments = np.array([[11, 2, 3, 5, 7, 0]], np.int32), np.array([[1, 1, 2, 2, 2, 0]], np.int32)
    packed = jax.jit(lambda model: model.encode_packed("queries", jnp.asarray(tokens), jnp.asarray(segments), 3))(model)
    np.testing.assert_allclose(packed[0, :2], vectors[::-1], atol=2e-6)


def test_tied_towers_agree_and_untied_do_not():
    queries, passages = encode(build(), TOKENS, SEGMENTS)
    np.testing.assert_array_equal(queries, passages)
    queries, passages = encode(build(tied=False), TOKENS, SEGMENTS)
    assert not np.allclose(queries, passages, atol=0.1)


def test_parameters_are_the_promised_shapes_and_depend_on_the_seed():
    config = ModelConfig(encoder=ENCODER, tied=False, projection_dim=4, learn_temperature=True)
    _, shapes = abstract(config)
    first, again, other = (jax.jit(initialize, static_argnums=0)(config, seed) for seed in (0, 0, 1))
    jax.tree.map(
        lambda shape, p: np.testing.assert_equal((p.shape, p.dtype), (shape.shape, shape.dtype)), shapes, first
    )
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert not np.allclose(*(p["query_tower"]["encoder"]["embeddings"]["word"]["embedding"] for p in (first, other)))


def test_a_fixed_temperature_is_no_parameter():
    assert build(temperature=0.07).temperature == np.float32(0.07)
    fixed, learned = (abstract(ModelConfig(encoder=ENCODER, learn_temperature=learn))[1] for learn in (False, True))
    assert set(learned) - set(fixed) == {"log_temperature_above_floor"}


def test_a_learned_temperature_stays_above_its_floor_and_can_come_back():
    config = ModelConfig(encoder=ENCODER, temperature=0.07, learn_temperature=True)
    code, _ = abstract(config)
    parameters = initialize(config, 0)

    @jax.jit
    @jax.value_and_grad
    def temperature(value):
        return bind(code, {**parameters, "log_temperature_above_floor": value}).temperature

    start, slope = temperature(parameters["log_temperature_above_floor"])
    np.testing.assert_allclose(start, 0.07, rtol=1e-6)
    low, low_slope = temperature(jnp.float32(-12.0))
    assert low >= 0.01
    assert slope > low_slope > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"projection_activation": "tanh"},
            "projection_activation is tanh but there is no projection: set projection_dim",
        ),
        ({"temperature": 0.01, "learn_temperature": True}, "temperature 0.01 cannot be learned: start above 0.01"),
        ({"temperature": 0.001}, "greater than or equal to 0.01"),
        ({"poling": "cls"}, "poling"),
    ],
)
def test_inconsistent_configs_are_refused(options: dict, message: str):
    with pytest.raises(ValidationError, match=message):
        ModelConfig.model_validate(options)


def test_single_texts_longer_than_the_maximum_are_refused():
    long = np.ones((1, 13), np.int32)
    with pytest.raises(ValueError, match="rows of 13 tokens, but the encoder has max_length 12: set max_length to at"):
        encode(build(), long, long)


def test_rows_of_texts_may_be_longer_than_the_maximum_of_a_text():
    model = build()
    vectors, _ = encode(model, TOKENS, SEGMENTS)
    tokens = np.tile(np.array([[3, 5, 7, 11, 2]], np.int32), 3)
    segments = np.array([[1, 1, 1, 2, 2, 3, 3, 3, 4, 4, 5, 5, 5, 6, 6]], np.int32)
    packed = jax.jit(lambda model: model.encode_packed("queries", jnp.asarray(tokens), jnp.asarray(segments), 6))(model)
    np.testing.assert_allclose(packed[0], np.tile(vectors, (3, 1)), atol=2e-6)
