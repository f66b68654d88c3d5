"""Loss and gradients of the training step are those of sentence-transformers: the same weights, the same batch."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MultipleNegativesRankingLoss,
)
from support.packing import packed

from hybrid_jax.hub.names import parameter_name
from hybrid_jax.hub.weights import load_tower, open_pretrained
from hybrid_jax.model.dual_encoder import ModelConfig
from hybrid_jax.model.families import family_of
from hybrid_jax.runtime.mesh import MeshConfig, make_mesh, parameter_sharding, put_batch
from hybrid_jax.train.encode import make_encode
from hybrid_jax.train.loss import LossConfig
from hybrid_jax.train.objective import make_objective
from hybrid_jax.train.step import measure

SCALE = 20.0
WORDS = ["Haus", "Baum", "Fluss", "house", "tree", "river", "casa", "árbol", "río", "nhà", "cây", "sông", "12", "?"]
PAIRS = 12


def texts(random: np.random.Generator, shortest: int, longest: int) -> list[str]:
    return [" ".join(random.choice(WORDS, random.integers(shortest, longest + 1))) for _ in range(PAIRS)]


@pytest.fixture(scope="module")
def pairs() -> tuple[list[str], list[str]]:
    """Ragged: queries of 1 to 8 words, passages of 4 to 40."""
    random = np.random.default_rng(0)
    return texts(random, 1, 8), texts(random, 4, 40)


Theirs = tuple[float, dict[str, np.ndarray], dict[str, np.ndarray]]
"""Loss, gradients by their names, and the batch's tokens as one text per row."""


@pytest.fixture(scope="module")
def theirs(minilm: Path, pairs) -> Callable[[bool], Theirs]:
    def compute(cached: bool) -> Theirs:
        model = SentenceTransformer(str(minilm), device="cpu").eval()  # no dropout
        features = [{**model.preprocess(side)} for side in pairs]
        rows: dict[str, np.ndarray] = {}
        for name, side in zip(("query", "passage"), features, strict=True):
            rows[f"{name}_tokens"] = side["input_ids"].numpy().astype(np.int32)
            rows[f"{name}_segments"] = side["attention_mask"].numpy().astype(np.int32)
            rows[f"{name}_group"] = np.arange(PAIRS, dtype=np.int32)
        loss = (
            CachedMultipleNegativesRankingLoss(model, scale=SCALE, mini_batch_size=4)
            if cached
            else MultipleNegativesRankingLoss(model, scale=SCALE)
        )(features, torch.zeros(PAIRS))
        loss.backward()
        named = model[0].auto_model.named_parameters()
        return loss.item(), {name: p.grad.numpy() for name, p in named if p.grad is not None}, rows

    return compute


def ours(minilm: Path, rows: dict[str, np.ndarray], microbatch_rows: int | None) -> tuple[ModelConfig, float, Any]:
    pretrained, mesh = open_pretrained(minilm), make_mesh(MeshConfig(data=1))
    config = pretrained.model.model_copy(update={"temperature": 1 / SCALE, "learn_temperature": False})
    parameters = {"tower": load_tower(pretrained, config, partial(parameter_sharding, mesh))}
    batch = packed(rows, 128, 8, devices=1, microbatch_rows=microbatch_rows)
    assert (len(batch.sides[0].tokens) > 1) == (microbatch_rows is not None)
    assert batch.sides[0].segments.max() >= 3  # several texts share a row
    loss_fn = partial(measure, make_encode(config, mesh), make_objective(LossConfig(), mesh))
    function = jax.jit(jax.value_and_grad(loss_fn, has_aux=True))
    (loss, _), gradients = function(parameters, put_batch(mesh, batch), None)
    return config, float(loss), jax.device_get(gradients)


@pytest.mark.parametrize("microbatch_rows", [None, 2], ids=["plain", "chunks"])
def test_loss_and_gradients_are_those_of_sentence_transformers(minilm: Path, theirs, microbatch_rows: int | None):
    for cached in (False, True):
        expected, reference, rows = theirs(cached)
        if not cached:
            config, loss, gradients = ours(minilm, rows, microbatch_rows)
        assert loss == pytest.approx(expected, rel=1e-5)
        whole = np.sqrt(sum((value.astype(np.float64) ** 2).sum() for value in reference.values()))
        worst = 0.0
        assert len(reference) > 100
        for source, value in reference.items():
            name = parameter_name(source, family_of(config.encoder).tensor_names)
            assert name is not None, source
            mine = gradients["tower"]["encoder"]
            for part in name.split("."):
                mine = mine[int(part) if part.isdecimal() else part]
            mine = mine.T if name.endswith(".kernel") else mine
            # A gradient that is 0 in exact arithmetic (the keys' bias) is judged by the whole's size.
            error = np.linalg.norm(mine - value) / max(np.linalg.norm(value), 1e-3 * whole)
            worst = max(worst, float(error))
            assert error <= 1e-4, f"the gradient of {source} differs by {error:g} of its norm"
        print(f"cached {cached}: loss {loss:.6f} and {expected:.6f}; gradients differ by at most {worst:.1e}")
