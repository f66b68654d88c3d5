"""What a run remembers of its teacher."""

from pathlib import Path

import numpy as np

from hybrid_jax.data.texts import text_digest
from hybrid_jax.embed.store_format import Recipe
from hybrid_jax.embed.store_writer import write_store
from hybrid_jax.train.distillation import DistillationConfig
from hybrid_jax.train.teacher import Teacher


def test_the_digest_is_of_the_vectors_of_both_stores(tmp_path: Path):
    """A run that goes on with another teacher of queries must not look like the same run."""
    corpus = [(text_digest(text).hex(), text) for text in ("a house", "a river")]

    def store(name: str, seed: int) -> str:
        vectors = np.random.default_rng(seed).standard_normal((2, 4)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        recipe = Recipe(model={"name": name}, rows_per_shard=8)
        write_store(tmp_path / name, corpus, lambda texts: vectors[: len(texts)], recipe)
        return str(tmp_path / name)

    passages, queries, others = (store(name, seed) for seed, name in enumerate(("passages", "queries", "others")))

    def digest(store: str, query_store: str | None) -> str:
        return Teacher(DistillationConfig(store=store, query_store=query_store), {}, 4).digest

    asked = [(passages, None), (passages, queries), (passages, others), (others, queries)]
    assert len({digest(*stores) for stores in asked}) == 4
    assert digest(passages, queries) == digest(passages, queries)
