"""Loss and gradients of packed rows, whole or in chunks, are those of one text per row: dropout on, on any mesh."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.packing import packed

from hybrid_jax.data.batch import PackedBatch
from hybrid_jax.model.dual_encoder import ModelConfig, abstract, bind, initialize
from hybrid_jax.runtime.mesh import MeshConfig, make_mesh, parameter_sharding, put_batch
from hybrid_jax.train.encode import make_encode
from hybrid_jax.train.loss import LossConfig
from hybrid_jax.train.objective import make_objective
from hybrid_jax.train.step import measure

Rows = dict[str, np.ndarray]
LOSS = LossConfig(directions="both")


class Form(NamedTuple):
    """How the texts are laid out and computed."""

    length: int
    slots: int = 1
    data: int = 1
    fsdp: int = 1
    microbatch_rows: int | None = None
    remat: bool = False


ALONE = Form(6)
FORMS = {
    "packed": Form(14, slots=4),
    "packed, 8 devices": Form(14, slots=4, data=8),
    "packed, fsdp": Form(14, slots=4, data=4, fsdp=2),
    "chunks": Form(14, slots=4, microbatch_rows=4),
    "chunks, 8 devices": Form(14, slots=4, data=8, microbatch_rows=8),
    "chunks, fsdp, remat": Form(14, slots=4, data=4, fsdp=2, microbatch_rows=8, remat=True),
}


def dropping(config: ModelConfig, tied: bool, remat: bool = False) -> ModelConfig:
    encoder = config.encoder.model_copy(update={"dropout": 0.2, "attention_dropout": 0.2, "remat": remat})
    return config.model_copy(update={"tied": tied, "encoder": encoder})


def batch_of(rows: Rows, form: Form, tied: bool) -> PackedBatch:
    devices = form.data * form.fsdp
    return packed(rows, form.length, form.slots, devices, form.microbatch_rows, apart=not tied)


def loss_and_gradients(config: ModelConfig, rows: Rows, form: Form, key: jax.Array | None) -> tuple[Any, Any]:
    mesh = make_mesh(MeshConfig(data=form.data, fsdp=form.fsdp))
    config = dropping(config, config.tied, form.remat)
    parameters = jax.device_get(jax.jit(initialize, static_argnums=0)(config, 7))
    parameters = jax.device_put(parameters, jax.tree.map(lambda leaf: parameter_sharding(mesh, leaf.shape), parameters))
    function = jax.jit(
        jax.value_and_grad(partial(measure, make_encode(config, mesh), make_objective(LOSS, mesh)), has_aux=True)
    )
    (loss, _), gradients = function(parameters, put_batch(mesh, batch_of(rows, form, config.tied)), key)
    return loss, jax.device_get(gradients)


@pytest.fixture(scope="module")
def alone(model_config: ModelConfig, rows: Rows):
    """One text per row on one device, for tied and untied towers."""
    return {
        tied: loss_and_gradients(model_config.model_copy(update={"tied": tied}), rows, ALONE, jax.random.key(3))
        for tied in (True, False)
    }


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_computes_what_one_text_per_row_does(
    model_config: ModelConfig, rows: Rows, alone, form: Form, tied: bool
):
    batch = batch_of(rows, form, tied)
    assert len(batch.sides) == 2 - tied
    assert batch.sides[-1].segments.max() >= 3  # several texts share a row
    assert (len(batch.sides[-1].tokens) > 1) == (form.microbatch_rows is not None)
    config = model_config.model_copy(update={"tied": tied})
    loss, gradients = loss_and_gradients(config, rows, form, jax.random.key(3))
    expected_loss, expected = alone[tied]
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    largest = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(expected))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=4e-6 * largest), gradients, expected)


def test_the_vectors_are_those_of_the_model_on_single_texts(model_config: ModelConfig, rows: Rows):
    code, _ = abstract(model_config)
    parameters = initialize(model_config, 7)
    model, mesh = bind(code, parameters), make_mesh(MeshConfig(data=2))
    batch = put_batch(mesh, batch_of(rows, Form(14, slots=4, data=2, microbatch_rows=4), tied=True))
    vectors = jax.jit(make_encode(model_config, mesh), static_argnums=2)(parameters, batch, None)
    queries = model.encode_queries(jnp.asarray(rows["query_tokens"]), jnp.asarray(rows["query_segments"]))
    passages = model.encode_passages(jnp.asarray(rows["passage_tokens"]), jnp.asarray(rows["passage_segments"]))
    np.testing.assert_allclose(vectors.queries, queries, atol=1e-6)
    np.testing.assert_allclose(vectors.passages, passages, atol=1e-6)


def test_a_text_as_query_and_as_passage_has_two_masks(model_config: ModelConfig):
    tokens = np.random.default_rng(1).integers(1, 24, (8, 6)).astype(np.int32)
    texts = {"tokens": tokens, "segments": np.ones_like(tokens), "group": np.arange(8, dtype=np.int32)}
    rows = {f"{side}_{name}": array for side in ("query", "passage") for name, array in texts.items()}
    config, mesh = dropping(model_config, tied=True), make_mesh(MeshConfig(data=1))
    encode = jax.jit(make_encode(config, mesh))
    batch = put_batch(mesh, packed(rows, 12, 2, devices=1))
    vectors = encode(initialize(config, 7), batch, jax.random.key(0))
    assert not np.allclose(vectors.queries, vectors.passages, atol=0.01)


def test_only_one_chunk_is_in_memory_at_a_time(model_config: ModelConfig, rows: Rows):
    """The compiled gradient needs the less memory, the smaller the chunks."""
    wide = model_config.encoder.model_copy(update={"hidden_size": 128, "intermediate_size": 512})
    config = model_config.model_copy(update={"encoder": wide})
    mesh = make_mesh(MeshConfig(data=1))
    loss = partial(measure, make_encode(config, mesh), make_objective(LOSS, mesh))
    parameters = initialize(config, 0)

    def temporary_bytes(microbatch_rows: int | None) -> int:
        batch = packed(rows, 64, 8, devices=1, microbatch_rows=microbatch_rows)
        compiled = jax.jit(jax.grad(loss, has_aux=True)).lower(parameters, put_batch(mesh, batch), jax.random.key(0))
        return compiled.compile().memory_analysis().temp_size_in_bytes  # pyright: ignore[reportOptionalMemberAccess]

    whole, halves = temporary_bytes(None), temporary_bytes(1)
    assert halves < 0.6 * whole
