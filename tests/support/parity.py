"""Our side of the parity tests: a model folder and what the references made of it -> assertions. Needs no torch."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hybrid_jax.embed.load import load
from hybrid_jax.hub.names import parameter_name
from hybrid_jax.hub.weights import load_tower, open_pretrained
from hybrid_jax.model.dual_encoder import ModelConfig, abstract, bind
from hybrid_jax.model.families import family_of
from hybrid_jax.runtime.mesh import MeshConfig, make_mesh, parameter_sharding
from hybrid_jax.train.loss import contrastive_loss

TEMPERATURE = 0.1


def check(folder: Path, expected: Mapping[str, np.ndarray], texts: list[str]) -> dict[str, float]:
    """Last hidden states within 2e-5, embeddings within 1e-6 of cosine 1, gradients within 1e-4; returns the worst."""
    pretrained = open_pretrained(folder)
    sharding = partial(parameter_sharding, make_mesh(MeshConfig()))
    plain = ModelConfig(encoder=pretrained.model.encoder)
    tower = load_tower(pretrained, plain, sharding)
    worst = {"hidden": 0.0, "cosine": 0.0, "gradient": 0.0}

    names = sorted({key.split("/")[0] for key in expected if key.endswith("/tokens")})
    tokens, mask = _together([(expected[f"{name}/tokens"], expected[f"{name}/mask"]) for name in names])
    hidden = np.asarray(jax.jit(lambda p, t, m: _encoder(plain, p)(t, m))(tower, tokens, mask))
    pooled = _pooled(pretrained, sharding, tokens, mask) if f"{names[0]}/pooler" in expected else None
    start = 0
    for name in names:
        used = expected[f"{name}/mask"]
        rows, start = slice(start, start + len(used)), start + len(used)
        error = np.abs(hidden[rows, : used.shape[1]] - expected[f"{name}/hidden"])[used == 1].max()
        worst["hidden"] = max(worst["hidden"], float(error))
        assert error <= 2e-5, f"{folder.name}, {name}: last hidden states differ by {error:g}"
        if pooled is not None:
            _close(pooled[rows], expected[f"{name}/pooler"], f"{folder.name}, {name}: pooler", worst)

    gradients = _gradients(plain, tower, expected["ragged/tokens"], expected["ragged/mask"])
    reference = {key.removeprefix("gradient/"): value for key, value in expected.items() if key.startswith("gradient/")}
    whole = float(np.sqrt(sum((value**2).sum() for value in reference.values())))
    for source, value in reference.items():
        name = parameter_name(source, family_of(plain.encoder).tensor_names)
        assert name is not None, f"{source} has a gradient but no name here"
        mine = _leaf(gradients, name)
        mine = mine.T if name.endswith(".kernel") else mine
        # A gradient that is 0 in exact arithmetic (the keys' bias: softmax ignores it) is judged by the whole's size.
        error = np.linalg.norm(mine - value) / max(np.linalg.norm(value), 1e-3 * whole)
        worst["gradient"] = max(worst["gradient"], float(error))
        assert error <= 1e-4, f"{folder.name}: the gradient of {source} differs by {error:g} of its norm"

    if "queries" in expected:
        encoder = load(folder)
        _close(encoder.encode_queries(texts), expected["queries"], f"{folder.name}: queries", worst)
        _close(encoder.encode_passages(texts), expected["passages"], f"{folder.name}: passages", worst)
    return worst


def _together(batches: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """All rows in one batch, padded on the right: one program to compile."""
    width = max(mask.shape[1] for _, mask in batches)
    padded = [[np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in batch] for batch in batches]
    tokens, masks = (np.concatenate(parts) for parts in zip(*padded, strict=True))
    return tokens, masks


def _close(mine: np.ndarray, theirs: np.ndarray, what: str, worst: dict[str, float]) -> None:
    norms = np.linalg.norm(mine.astype(np.float64), axis=1) * np.linalg.norm(theirs.astype(np.float64), axis=1)
    cosine = (mine.astype(np.float64) * theirs).sum(axis=1) / norms
    worst["cosine"] = max(worst["cosine"], float(1 - cosine.min()))
    assert cosine.min() >= 0.999999, f"{what}: row {cosine.argmin()} has cosine {cosine.min():.9f}"


def _encoder(config: ModelConfig, tower: Any) -> Any:
    return bind(abstract(config)[0], {"tower": tower}).tower.encoder


def _pooled(pretrained: Any, sharding: Any, tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
    parameters = {"tower": load_tower(pretrained, pretrained.model, sharding)}
    code = abstract(pretrained.model)[0]
    return np.asarray(jax.jit(lambda p, t, m: bind(code, p).encode_queries(t, m))(parameters, tokens, mask))


def _gradients(config: ModelConfig, tower: Any, tokens: np.ndarray, mask: np.ndarray) -> Any:
    code, groups = abstract(config)[0], jnp.arange(len(tokens))

    def loss(tower: Any, tokens: jax.Array, mask: jax.Array) -> jax.Array:
        model = bind(code, {"tower": tower})
        queries, passages = model.encode_queries(tokens, mask), model.encode_passages(tokens[::-1], mask[::-1])
        return contrastive_loss(queries, passages, groups, groups, jnp.asarray(TEMPERATURE), "query_to_passage")[0]

    return jax.tree.map(np.asarray, jax.jit(jax.grad(loss))(tower, tokens, mask))["encoder"]


def _leaf(tree: Any, name: str) -> np.ndarray:
    for part in name.split("."):
        tree = tree[int(part) if part.isdecimal() else part]
    return tree
