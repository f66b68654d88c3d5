"""A tiny model and a batch for it."""

import numpy as np

from hybrid_jax.model.bert.encoder import BertConfig
from hybrid_jax.model.dual_encoder import ModelConfig

ROWS, HARD_NEGATIVES, LENGTH = 16, 1, 6


def tiny_model() -> ModelConfig:
    """A transformer with one layer, for texts of up to six of 24 tokens."""
    encoder = BertConfig(
        vocab_size=24, hidden_size=8, num_layers=1, num_heads=2, intermediate_size=16, max_length=LENGTH
    )
    return ModelConfig(encoder=encoder, learn_temperature=True, temperature=0.05)


def tiny_rows() -> dict[str, np.ndarray]:
    """16 queries and 32 passages of random tokens and lengths, with false negatives within and across devices."""
    random = np.random.default_rng(0)

    def texts(count: int) -> tuple[np.ndarray, np.ndarray]:
        lengths = random.integers(1, LENGTH + 1, size=(count, 1))
        segments = (np.arange(LENGTH) < lengths).astype(np.int32)
        return random.integers(1, 24, size=(count, LENGTH)).astype(np.int32) * segments, segments

    query_tokens, query_segments = texts(ROWS)
    passage_tokens, passage_segments = texts(ROWS * (1 + HARD_NEGATIVES))
    query_group = np.arange(ROWS, dtype=np.int32)
    query_group[[1, 9]] = 0
    passage_group = np.arange(100, 100 + len(passage_tokens), dtype=np.int32)
    passage_group[:: 1 + HARD_NEGATIVES] = query_group
    passage_group[7] = query_group[12]
    return {
        "query_tokens": query_tokens,
        "query_segments": query_segments,
        "query_group": query_group,
        "passage_tokens": passage_tokens,
        "passage_segments": passage_segments,
        "passage_group": passage_group,
    }
