"""The encoder against the same thing in plain numpy, and its two promises: packing changes nothing, nor does remat."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from pydantic import ValidationError
from support.noise import assert_dropout_is_the_same_packed, noise_of

from hybrid_jax.model.bert.encoder import Bert, BertConfig

TINY = BertConfig(
    vocab_size=23, hidden_size=16, num_layers=2, num_heads=2, intermediate_size=32, max_length=12, layer_norm_eps=1e-5
)
TOKENS = np.array([[3, 5, 7, 9, 0, 0], [11, 2, 0, 0, 0, 0]], np.int32)
SEGMENTS = (TOKENS > 0).astype(np.int32)


@jax.jit
def run(model: Bert, tokens, segments, noise=None):
    return model(tokens, segments, noise)


def encode(model: Bert, tokens, segments, key=None):
    return run(model, tokens, segments, None if key is None else noise_of(key, segments))


def build(config: BertConfig, deviation: float = 0.0) -> Bert:
    """A fresh encoder; with `deviation`, every parameter moved at random, so that zero biases cannot hide a mistake."""
    code, state = nnx.split(Bert(config, nnx.Rngs(0)))
    random = np.random.default_rng(1)
    return nnx.merge(code, jax.tree.map(lambda p: p + deviation * random.normal(size=p.shape).astype(p.dtype), state))


def by_numpy(parameters: dict, config: BertConfig, tokens: list[int]) -> np.ndarray:
    """BERT for one text without padding, written from the paper."""

    def norm(x, p):
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + config.layer_norm_eps) * p["scale"] + p["bias"]

    def linear(x, p):
        return x @ p["kernel"] + p["bias"]

    gelu = np.vectorize(lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2)
    tables = parameters["embeddings"]
    place = np.arange(len(tokens))
    if config.position_offset > 0:  # RoBERTa: tokens of the padding id are not counted, and stand before the first
        counted = np.array(tokens) != config.position_offset - 1
        place = np.where(counted, np.cumsum(counted) - 1, -1)
    place = place + config.position_offset
    x = tables["word"]["embedding"][tokens] + tables["position"]["embedding"][place]
    x = norm(x + tables["token_type"]["embedding"][0], tables["norm"])
    size = config.hidden_size // config.num_heads
    for number in range(config.num_layers):
        layer = parameters["layers"][number]
        query, key, value = (linear(x, layer["attention"][name]) for name in ("query", "key", "value"))
        heads = []
        for h in range(config.num_heads):
            own = slice(h * size, (h + 1) * size)
            weights = np.exp(query[:, own] @ key[:, own].T / math.sqrt(size))
            heads.append(weights / weights.sum(-1, keepdims=True) @ value[:, own])
        x = norm(x + linear(np.concatenate(heads, -1), layer["attention"]["output"]), layer["attention_norm"])
        x = norm(x + linear(gelu(linear(x, layer["intermediate"])), layer["output"]), layer["output_norm"])
    return x


@pytest.mark.parametrize(("offset", "types"), [(0, 2), (2, 1)], ids=["bert", "roberta"])
def test_equals_bert_written_in_numpy(offset: int, types: int):
    config = TINY.model_copy(update={"position_offset": offset, "type_vocab_size": types})
    model = build(config, deviation=0.3)
    parameters = jax.tree.map(lambda p: np.asarray(p, np.float64), nnx.to_pure_dict(nnx.state(model)))
    hidden = encode(model, TOKENS, SEGMENTS)
    for row, length in enumerate(SEGMENTS.sum(axis=1)):
        expected = by_numpy(parameters, config, list(TOKENS[row, :length]))
        np.testing.assert_allclose(hidden[row, :length], expected, atol=2e-5)


def test_a_padding_token_inside_a_text_is_attended_to_and_shifts_roberta_positions_only():
    texts = [[3, 1, 5, 1, 1, 7], [9, 4, 1]]
    packed = np.array([[*texts[0], *texts[1], 1]], np.int32)
    segments = np.array([[1] * 6 + [2] * 3 + [0]], np.int32)
    for offset in (0, 2):
        config = TINY.model_copy(update={"position_offset": offset})
        model = build(config, deviation=0.3)
        hidden = np.asarray(encode(model, packed, segments))[0]
        parameters = jax.tree.map(lambda p: np.asarray(p, np.float64), nnx.to_pure_dict(nnx.state(model)))
        for text, start in zip(texts, (0, 6), strict=True):
            expected = by_numpy(parameters, config, text)
            np.testing.assert_allclose(hidden[start : start + len(text)], expected, atol=2e-5)


def test_a_text_is_the_same_wherever_it_stands():
    model = build(TINY, deviation=0.3)
    alone = encode(model, TOKENS, SEGMENTS)
    packed = encode(model, np.array([[11, 2, 3, 5, 7, 9, 0]], np.int32), np.array([[1, 1, 2, 2, 2, 2, 0]], np.int32))
    np.testing.assert_allclose(packed[0, :2], alone[1, :2], atol=1e-5)
    np.testing.assert_allclose(packed[0, 2:6], alone[0, :4], atol=1e-5)


def test_padding_has_no_influence_and_no_nan():
    model = build(TINY, deviation=0.3)
    other = np.where(SEGMENTS, TOKENS, 13).astype(np.int32)
    first, second = encode(model, TOKENS, SEGMENTS), encode(model, other, SEGMENTS)
    np.testing.assert_array_equal(np.asarray(first)[SEGMENTS > 0], np.asarray(second)[SEGMENTS > 0])
    assert np.isfinite(encode(model, TOKENS, np.zeros_like(SEGMENTS))).all()


def test_remat_changes_neither_values_nor_gradients():
    results = []
    for remat in (False, True):
        code, state = nnx.split(build(TINY.model_copy(update={"remat": remat, "num_layers": 1}), deviation=0.3))

        def loss(state, key, code=code):
            return jnp.sum(
                nnx.merge(code, state)(jnp.asarray(TOKENS), jnp.asarray(SEGMENTS), noise_of(key, SEGMENTS))[..., 0] ** 2
            )

        results.append(jax.jit(jax.value_and_grad(loss))(nnx.to_pure_dict(state), jax.random.key(0)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *results)


def test_bfloat16_computes_roughly_the_same_with_float32_parameters():
    half = build(TINY.model_copy(update={"dtype": "bfloat16"}), deviation=0.1)
    assert {p.dtype for p in jax.tree.leaves(nnx.state(half))} == {jnp.dtype("float32")}
    values = encode(half, TOKENS, SEGMENTS)
    assert values.dtype == jnp.bfloat16
    exact = encode(build(TINY, deviation=0.1), TOKENS, SEGMENTS)
    # bfloat16 keeps 8 bits: steps of 2^-7 at the size of LayerNorm's output (about 2), over a few layers.
    np.testing.assert_allclose(values.astype(jnp.float32), exact, atol=0.15)


def test_dropout_takes_the_same_from_a_text_wherever_it_stands():
    assert_dropout_is_the_same_packed(partial(run, build(TINY, deviation=0.3)), TOKENS, SEGMENTS)


def test_dropout_is_a_function_of_key_and_place():
    model = build(TINY)
    key = jax.random.key(3)
    first = encode(model, TOKENS, SEGMENTS, key)
    np.testing.assert_array_equal(first, encode(model, TOKENS, SEGMENTS, key))
    assert not np.allclose(first, encode(model, TOKENS, SEGMENTS, jax.random.fold_in(key, 1)))
    assert not np.allclose(first, encode(model, TOKENS, SEGMENTS))
    still = build(TINY.model_copy(update={"dropout": 0.0, "attention_dropout": 0.0}))
    np.testing.assert_array_equal(encode(still, TOKENS, SEGMENTS, key), encode(still, TOKENS, SEGMENTS))


def test_a_token_outside_the_vocabulary_is_loud():
    assert np.isnan(encode(build(TINY), np.full((1, 2), 23, np.int32), np.ones((1, 2), np.int32))).all()


def test_heads_must_divide_the_width():
    with pytest.raises(ValidationError, match="num_heads 3 does not divide hidden_size 16"):
        BertConfig(hidden_size=16, num_heads=3)
