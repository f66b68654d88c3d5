"""hybrid_jax: multilingual dual encoders for retrieval, trained on hybrid monolingual and cross-lingual batches.

run = hybrid_jax.train("configs/demo.yaml", "runs/demo")    # the same as the command; see docs/python.md
encoder = hybrid_jax.load("runs/demo")    # or a Hugging Face or sentence-transformers folder, or a hub id
scores = encoder.similarity(encoder.encode_queries(questions), encoder.encode_passages(passages))
report = hybrid_jax.evaluate(encoder, "xquad_r", data_dir="data")
mteb.evaluate(hybrid_jax.MtebEncoder(encoder), tasks=...)    # needs mteb
"""

from importlib import import_module, metadata
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hybrid_jax import data
    from hybrid_jax.api import Metrics, Run, evaluate, train
    from hybrid_jax.embed.load import load
    from hybrid_jax.embed.mteb import MtebEncoder

__all__ = ["Metrics", "MtebEncoder", "Run", "__version__", "data", "evaluate", "load", "train"]

__version__: str
"""The version that pip installed, such as "0.1.0"; pyproject.toml states it."""

_HOMES = {
    **dict.fromkeys(("Metrics", "Run", "evaluate"), "hybrid_jax.api"),
    "load": "hybrid_jax.embed.load",
    "MtebEncoder": "hybrid_jax.embed.mteb",
}


def __getattr__(name: str) -> Any:
    # Imported on first use: importing jax takes a second, and `--help` does not need it.
    if name == "__version__":
        return metadata.version("hybrid_jax")
    if name == "data":
        return import_module("hybrid_jax.data")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'hybrid_jax' has no attribute {name!r}")


class _TrainRoom(ModuleType):
    """The package hybrid_jax.train, which is also the function: `hybrid_jax.train(config, workdir)`."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return import_module("hybrid_jax.api").train(*arguments, **options)


import_module("hybrid_jax.train").__class__ = _TrainRoom
