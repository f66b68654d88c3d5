"""hybrid_jax: multilingual dual encoders for retrieval, trained on hybrid monolingual and cross-lingual batches.

encoder = hybrid_jax.load("runs/demo")    # or a Hugging Face or sentence-transformers folder, or a hub id
scores = encoder.similarity(encoder.encode_queries(questions), encoder.encode_passages(passages))
mteb.evaluate(hybrid_jax.MtebEncoder(encoder), tasks=...)    # needs mteb
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hybrid_jax.embed.load import load
    from hybrid_jax.embed.mteb import MtebEncoder

__all__ = ["MtebEncoder", "__version__", "load"]

__version__: str
"""The version that pip installed, such as "0.1.0"; pyproject.toml states it."""


def __getattr__(name: str) -> Any:
    # Imported on first use: importing jax takes a second, and `--help` does not need it.
    if name == "load":
        from hybrid_jax.embed.load import load

        return load
    if name == "MtebEncoder":
        from hybrid_jax.embed.mteb import MtebEncoder

        return MtebEncoder
    if name == "__version__":
        from importlib.metadata import version

        return version("hybrid_jax")
    raise AttributeError(f"module 'hybrid_jax' has no attribute {name!r}")
