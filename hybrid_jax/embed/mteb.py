"""A text encoder as mteb wants it: `mteb.evaluate(hybrid_jax.load(…).mteb(), tasks=…)`.

Knows: mteb's `EncoderProtocol` (mteb 2). Does not know: tasks. mteb is not installed with hybrid_jax: pip install mteb.
"""

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

import numpy as np

from hybrid_jax.embed.encoder import TextEncoder

TO_DOCUMENTS = "document"
"""mteb's `PromptType` of the texts that are searched."""


class MtebEncoder:
    """Queries are encoded as queries; documents as passages; the texts of tasks without the two sides (sentence
    similarity, bitext mining, classification) as queries, as the E5 models do."""

    def __init__(self, encoder: TextEncoder, name: str | None = None):
        try:
            from mteb.models import ModelMeta  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise ValueError("mteb is not installed: pip install 'mteb>=2'") from None
        self._encoder = encoder
        # mteb keeps results by name and revision: equal ones must mean equal vectors.
        facts = json.dumps([encoder.origin.stated(), encoder.model.model_dump(mode="json")])
        self.mteb_model_meta = ModelMeta.create_empty(
            {
                "name": name or f"hybrid_jax/{encoder.origin.folder.name}",
                "revision": sha256(facts.encode()).hexdigest()[:40],
                "embed_dim": encoder.dim,
                "max_tokens": float(max(encoder.rules.max_query_length, encoder.rules.max_passage_length)),
                "framework": ["JAX"],
                "similarity_fn_name": "cosine",
                "use_instructions": False,
            }
        )

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any = None,
        hf_split: str = "",
        hf_subset: str = "",
        prompt_type: Any = None,
        **settings: Any,
    ) -> np.ndarray:
        """float32[texts, dim]; `inputs` are mteb's batches, {"text": [...]}."""
        texts = (text for batch in inputs for text in batch["text"])
        encode = self._encoder.encode_passages if prompt_type == TO_DOCUMENTS else self._encoder.encode_queries
        return encode(texts, progress=settings.get("show_progress_bar"))

    def similarity(self, embeddings1: Any, embeddings2: Any) -> np.ndarray:
        """Cosine of all pairs."""
        return self._encoder.similarity(_rows(embeddings1), _rows(embeddings2))

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> np.ndarray:
        """Cosine of each row with the other's."""
        return (_rows(embeddings1) * _rows(embeddings2)).sum(axis=1)


def _rows(embeddings: Any) -> np.ndarray:
    return np.atleast_2d(np.asarray(embeddings, np.float32))
