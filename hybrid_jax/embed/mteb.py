"""A text encoder as mteb expects it: `mteb.evaluate(hybrid_jax.MtebEncoder(hybrid_jax.load(…)), tasks=…)`.

Implements `EncoderProtocol` of mteb 2. mteb is not installed with hybrid_jax: pip install 'mteb>=2'.
"""

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

import numpy as np

from hybrid_jax.embed.encoder import TextEncoder

DOCUMENT = "document"
"""The value of mteb's `PromptType` for the texts that are searched."""


class MtebEncoder:
    """Encodes mteb's queries as queries and its documents as passages.

    Texts of tasks without these two sides (sentence similarity, bitext mining, classification) are encoded as queries,
    as the E5 models do. `name` is the model's name in mteb's results, by default `hybrid_jax/` and the folder's name.
    Raises ValueError if mteb is not installed.
    """

    def __init__(self, encoder: TextEncoder, name: str | None = None):
        try:
            from mteb.models import ModelMeta  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise ValueError("mteb is not installed: pip install 'mteb>=2'") from None
        self._encoder = encoder
        # mteb caches results by name and revision, so encoders with different vectors need different revisions.
        contents = json.dumps([encoder.origin.stated(), encoder.model.model_dump(mode="json")])
        self.mteb_model_meta = ModelMeta.create_empty(
            {
                "name": name or f"hybrid_jax/{encoder.origin.folder.name}",
                "revision": sha256(contents.encode()).hexdigest()[:40],
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
        """Encodes mteb's batches, {"text": [...]}. Returns float32[texts, dim]."""
        texts = (text for batch in inputs for text in batch["text"])
        encode = self._encoder.encode_passages if prompt_type == DOCUMENT else self._encoder.encode_queries
        return encode(texts, progress=settings.get("show_progress_bar"))

    def similarity(self, embeddings1: Any, embeddings2: Any) -> np.ndarray:
        """The cosine of every row of the first with every row of the second: float32[rows1, rows2]."""
        return self._encoder.similarity(_rows(embeddings1), _rows(embeddings2))

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> np.ndarray:
        """The cosine of each row of the first with the same row of the second: float32[rows]."""
        return (_rows(embeddings1) * _rows(embeddings2)).sum(axis=1)


def _rows(embeddings: Any) -> np.ndarray:
    return np.atleast_2d(np.asarray(embeddings, np.float32))
