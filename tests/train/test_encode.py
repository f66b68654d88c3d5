"""Vectors, loss and gradients of texts packed into rows are those of one text per row, with dropout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hybrid_jax.model.bert.encoder import BertConfig
from hybrid_jax.model.dropout import make_noise
from hybrid_jax.model.dual_encoder import ModelConfig, abstract, bind, initialize
from hybrid_jax.train.encode import one_per_row
from hybrid_jax.train.loss import contrastive_loss

ENCODER = BertConfig(
    vocab_size=50, hidden_size=16, num_layers=2, num_heads=2, intermediate_size=32, dropout=0.2, attention_dropout=0.2
)
LENGTHS = [3, 5, 2, 4, 9, 6, 11, 7]
"""Four queries, then their passages."""
ROWS = [[6, 2, 0], [4, 5], [7, 3, 1]]
"""The texts of each packed row, in the order in which they stand there."""


@pytest.fixture(scope="module")
def texts() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(1, 50, length).astype(np.int32) for length in LENGTHS]


def in_rows(texts: list[np.ndarray], rows: list[list[int]]) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Tokens, segments, and the number of each row's texts, -1 where a row has fewer."""
    tokens, segments = np.zeros((2, len(rows), 17), np.int32)
    numbers = np.full((len(rows), max(map(len, rows))), -1)
    for row, members in enumerate(rows):
        numbers[row, : len(members)] = members
        tokens[row, : sum(LENGTHS[text] for text in members)] = np.concatenate([texts[text] for text in members])
        ends = np.repeat(np.arange(1, len(members) + 1), [LENGTHS[text] for text in members])
        segments[row, : len(ends)] = ends
    return jnp.asarray(tokens), jnp.asarray(segments), jnp.asarray(numbers)


def test_packed_vectors_loss_and_gradients_equal_those_of_one_text_per_row(texts: list[np.ndarray]):
    config = ModelConfig(encoder=ENCODER)
    code, _ = abstract(config)
    key = jax.random.key(3)
    rows = in_rows(texts, ROWS)
    place = np.argsort([text for row in ROWS for text in row])

    def alone(parameters):
        (queries, query_segments, _), (passages, segments, _) = (
            in_rows(texts, [[text] for text in numbers]) for numbers in (range(4), range(4, 8))
        )
        model = bind(code, parameters)
        return jnp.concatenate(
            [
                one_per_row(model, "queries", queries, query_segments, 0, key),
                one_per_row(model, "passages", passages, segments, 4, key),
            ]
        )

    def packed(parameters):
        tokens, segments, numbers = rows
        vectors = bind(code, parameters).encode_packed(
            "queries", tokens, segments, 3, make_noise(key, numbers, segments)
        )
        return vectors[numbers >= 0][place]

    def loss(encode, parameters):
        vectors, groups = encode(parameters), jnp.arange(4)
        value, _ = contrastive_loss(vectors[:4], vectors[4:], groups, groups, jnp.float32(0.05))
        return value, vectors

    parameters = initialize(config, 0)
    (one, one_vectors), one_gradients = jax.value_and_grad(loss, argnums=1, has_aux=True)(alone, parameters)
    (other, other_vectors), other_gradients = jax.value_and_grad(loss, argnums=1, has_aux=True)(packed, parameters)
    np.testing.assert_allclose(other_vectors, one_vectors, atol=1e-6)
    np.testing.assert_allclose(other, one, rtol=1e-5)
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(one_gradients))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * largest), other_gradients, one_gradients)


def test_a_text_as_query_and_as_passage_has_two_masks():
    code, _ = abstract(ModelConfig(encoder=ENCODER))
    model = bind(code, initialize(ModelConfig(encoder=ENCODER), 0))
    tokens = jnp.asarray(np.random.default_rng(1).integers(1, 50, (2, 6)), jnp.int32)
    segments = jnp.ones_like(tokens)
    queries = one_per_row(model, "queries", tokens, segments, 0, jax.random.key(0))
    passages = one_per_row(model, "passages", tokens, segments, 2, jax.random.key(0))
    assert not np.allclose(queries, passages, atol=0.01)
