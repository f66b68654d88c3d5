"""Attention equals its formula in every form, and each library is given what it takes."""

import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.cudnn import fused_attention_stablehlo
from pydantic import ValidationError
from support.formulas import DTYPES, assert_close, normal, values_and_gradients
from support.packing import packed

from hybrid_jax.model import kernels
from hybrid_jax.model.attention import attention
from hybrid_jax.model.dual_encoder import ModelConfig, initialize
from hybrid_jax.runtime.mesh import MeshConfig, batch_sharding, make_mesh, put_batch, seen_by_kernels
from hybrid_jax.train.encode import make_encode


def formula(query, key, value, segments, window, kept, share):
    scores = jnp.einsum("rhid,rhjd->rhij", query, key) / np.sqrt(query.shape[-1])
    row, place = segments[:, None], np.arange(segments.shape[1])
    mask = row[..., :, None] == row[..., None, :]
    if window is not None:
        mask = mask & (abs(place[:, None] - place) <= window)
    weights = jax.nn.softmax(jnp.where(mask, scores, -jnp.inf), axis=-1)
    return jnp.einsum("rhij,rhjd->rhid", weights if kept is None else jnp.where(kept, weights / share, 0), value)


def of_a_library(name: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has attention computed by the library that a GPU or TPU would take; None: by none."""
    monkeypatch.setattr(kernels, "fused_attention", lambda *_: name)
    monkeypatch.setattr(kernels, "on_cpu", lambda: False)


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("drops", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cpu", [True, False])
def test_attention_equals_the_formula(
    cpu: bool, dtype: str, drops: bool, window: int | None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kernels, "on_cpu", lambda: cpu)
    inputs = [normal(seed, 2, 3, 24, 8, dtype=dtype) for seed in range(3)]
    segments = jnp.asarray(np.repeat([[1, 2, 3], [1, 2, 0]], 8, axis=1))
    kept = jnp.asarray(np.random.default_rng(3).random((2, 3, 24, 24)) > 0.3) if drops else None
    ours = values_and_gradients(lambda q, k, v: attention(q, k, v, segments, window, kept, 0.7, False), *inputs)
    exact = [part.astype(jnp.float32) for part in inputs]
    assert_close(
        ours, values_and_gradients(lambda q, k, v: formula(q, k, v, segments, window, kept, 0.7), *exact), DTYPES[dtype]
    )


@pytest.mark.parametrize("size", [32, 64, 128])
@pytest.mark.parametrize(("length", "window"), [(128, None), (384, 20)])
def test_splash_attention_equals_the_formula(
    length: int, window: int | None, size: int, monkeypatch: pytest.MonkeyPatch
):
    of_a_library("splash", monkeypatch)
    inputs = [normal(seed, 2, 2, length, size, dtype="bfloat16") for seed in range(3)]
    segments = jnp.asarray(np.sort(np.random.default_rng(3).integers(0, 4, (2, length)), axis=1))
    ours = values_and_gradients(lambda q, k, v: attention(q, k, v, segments, window, None, 1.0, True), *inputs)
    exact = [part.astype(jnp.float32) for part in inputs]
    assert_close(
        ours,
        values_and_gradients(lambda q, k, v: formula(q, k, v, segments, window, None, 1.0), *exact),
        DTYPES["bfloat16"],
    )
    assert max(np.abs(gradient).max() for gradient in ours[1:]) > 0.1


@pytest.fixture
def cudnn_by_xla(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cuDNN is asked for is computed by jax's other implementation of the same function."""
    asked = jax.nn.dot_product_attention
    monkeypatch.setattr(jax.nn, "dot_product_attention", lambda *qkv, implementation, **more: asked(*qkv, **more))


@pytest.mark.usefixtures("cudnn_by_xla")
@pytest.mark.parametrize("window", [None, 20])
def test_what_cudnn_is_asked_for_is_the_formula(window: int | None, monkeypatch: pytest.MonkeyPatch):
    of_a_library("cudnn", monkeypatch)
    inputs = [normal(seed, 2, 3, 96, 16, dtype="bfloat16") for seed in range(3)]
    segments = jnp.asarray(np.sort(np.random.default_rng(3).integers(0, 4, (2, 96)), axis=1))
    ours = values_and_gradients(lambda q, k, v: attention(q, k, v, segments, window, None, 1.0, True), *inputs)
    exact = [part.astype(jnp.float32) for part in inputs]
    formulas = values_and_gradients(lambda q, k, v: formula(q, k, v, segments, window, None, 1.0), *exact)
    assert_close(ours, formulas, DTYPES["bfloat16"])


@pytest.mark.usefixtures("cudnn_by_xla")
@pytest.mark.parametrize("library", ["cudnn", "splash"])
@pytest.mark.parametrize("config", [MeshConfig(data=8), MeshConfig(data=4, fsdp=2)])
def test_each_device_gives_a_library_its_own_rows(config: MeshConfig, library: str, monkeypatch: pytest.MonkeyPatch):
    of_a_library(library, monkeypatch)
    mesh = make_mesh(config)
    inputs = [normal(seed, 8, 2, 128, 32, dtype="bfloat16") for seed in range(3)]
    segments = jnp.ones((8, 128), jnp.int32)

    def attended(query, key, value, segments):
        with seen_by_kernels(mesh):
            return attention(query, key, value, segments, None, None, 1.0, True)

    split = jax.device_put((*inputs, segments), batch_sharding(mesh))
    compiled = jax.jit(attended).lower(*split).compile()
    assert not re.findall(r"all-gather|all-to-all|collective-permute", compiled.as_text() or "")
    query, key, value = inputs
    np.testing.assert_array_equal(compiled(*split), attention(query, key, value, segments, None, None, 1.0, True))


SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_layers": 3,
    "num_heads": 2,
    "intermediate_size": 48,
    "max_length": 128,
}
ENCODERS = {
    "bert": ({"attention_dropout": 0.0, "fused_attention": True}, None),
    "bert, layers computed again": ({"attention_dropout": 0.0, "fused_attention": True, "remat": True}, 4),
    "modernbert": ({"architecture": "modernbert", "local_attention": 16, "fused_attention": True}, 4),
}
"""Fields of an encoder, and microbatch_rows."""


@pytest.mark.parametrize("name", ENCODERS)
def test_a_model_with_splash_attention_equals_itself_without(name: str, monkeypatch: pytest.MonkeyPatch):
    """The vectors of a batch and the gradients of all parameters, on 2 x 2 devices, with dropout."""
    fields, microbatch_rows = ENCODERS[name]
    config = ModelConfig.model_validate({"encoder": {**SIZES, **fields, "dtype": "bfloat16"}})
    mesh = make_mesh(MeshConfig(data=2, fsdp=2))
    rng = np.random.default_rng(0)
    rows = {"query_group": np.arange(8, dtype=np.int32), "passage_group": np.arange(8, dtype=np.int32)}
    for side in ("query", "passage"):
        rows[f"{side}_tokens"] = rng.integers(5, 64, (8, 100)).astype(np.int32)
        rows[f"{side}_segments"] = (np.arange(100) < rng.integers(20, 100, (8, 1))).astype(np.int32)
    batch = put_batch(mesh, packed(rows, 128, 8, devices=4, microbatch_rows=microbatch_rows))
    parameters = initialize(config, seed=0)

    def gradients(library: str | None):
        of_a_library(library, monkeypatch)
        encode = make_encode(config, mesh)

        def loss(parameters):
            vectors = encode(parameters, batch, jax.random.key(1))
            return jnp.sum(vectors.queries @ vectors.passages.T * normal(5, 8, 8))

        return jax.jit(jax.value_and_grad(loss))(parameters)

    ours, plain = gradients("splash"), gradients(None)
    np.testing.assert_allclose(ours[0], plain[0], atol=0.02)
    assert max(float(jnp.abs(gradient).max()) for gradient in jax.tree.leaves(ours[1])) > 0.01
    for one, other in zip(jax.tree.leaves(ours[1]), jax.tree.leaves(plain[1]), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=0.05 * float(jnp.abs(other).max()) + 1e-6)


def test_cudnn_takes_the_inputs_forward_and_backward_and_no_weights_are_stored(monkeypatch: pytest.MonkeyPatch):
    of_a_library("cudnn", monkeypatch)
    monkeypatch.setattr(fused_attention_stablehlo, "check_cudnn_version", lambda: 91_000)  # there is none here
    heads = jax.ShapeDtypeStruct((4, 12, 256, 64), jnp.bfloat16)

    def loss(query, key, value, segments):
        return jnp.sum(attention(query, key, value, segments, None, None, 1.0, True).astype(jnp.float32))

    traced = jax.jit(jax.grad(loss, argnums=(0, 1, 2))).trace(
        heads, heads, heads, jax.ShapeDtypeStruct((4, 256), jnp.int32)
    )
    lowered = traced.lower(lowering_platforms=("cuda",)).as_text()
    calls = re.findall(r"__cudnn\$(\w+)", lowered)
    assert calls == ["fmhaScaleBiasSoftmax", "fmhaScaleBiasSoftmaxBackward"]
    assert "tensor<4x1x256x256xbf16>" in lowered  # the mask
    assert "12x256x256x" not in lowered


@pytest.mark.parametrize(
    ("platform", "capability", "dtype", "length", "size", "library"),
    [
        ("gpu", "9.0", "bfloat16", 256, 64, "cudnn"),
        ("gpu", "8.0", "bfloat16", 256, 128, "cudnn"),
        ("gpu", "7.5", "bfloat16", 256, 64, None),
        ("gpu", "9.0", "float32", 256, 64, None),
        ("gpu", "9.0", "bfloat16", 255, 64, None),
        ("gpu", "9.0", "bfloat16", 256, 12, None),
        ("gpu", "9.0", "bfloat16", 256, 160, None),
        ("gpu", "gfx942", "bfloat16", 256, 64, None),
        ("tpu", None, "bfloat16", 256, 64, "splash"),
        ("tpu", None, "bfloat16", 192, 64, None),
        ("tpu", None, "float32", 256, 64, None),
        ("cpu", None, "bfloat16", 256, 64, None),
    ],
)
def test_the_library_suits_the_device_and_the_inputs(
    platform: str,
    capability: str | None,
    dtype: str,
    length: int,
    size: int,
    library: str | None,
    monkeypatch: pytest.MonkeyPatch,
):
    named = {} if capability is None else {"compute_capability": capability}
    monkeypatch.setattr(jax, "local_devices", lambda: [SimpleNamespace(platform=platform, **named)])
    assert kernels.fused_attention(jnp.dtype(dtype), length, size) == library


def test_attention_with_dropout_uses_no_library(monkeypatch: pytest.MonkeyPatch):
    of_a_library("splash", monkeypatch)
    query = normal(0, 1, 1, 128, 32, dtype="bfloat16")
    kept = jnp.zeros((1, 1, 128, 128), bool)
    assert not np.asarray(attention(query, query, query, jnp.ones((1, 128), int), None, kept, 0.5, True)).any()


@pytest.mark.parametrize("architecture", ["bert", "modernbert"])
def test_what_no_library_computes_is_refused(architecture: str):
    fields = {"architecture": architecture, "fused_attention": True, "attention_dropout": 0.0}
    for wrong, said in (
        ({"dtype": "float32"}, "not dtype float32"),
        ({"attention_dropout": 0.1}, "not attention_dropout 0.1"),
    ):
        with pytest.raises(ValidationError, match=f"fused_attention takes bfloat16 and attention_dropout 0, {said}"):
            ModelConfig.model_validate({"encoder": {**fields, **wrong}})
    assert ModelConfig.model_validate({"encoder": fields}).encoder.fused_attention


def test_nobody_who_does_not_ask_for_it_gets_a_library(monkeypatch: pytest.MonkeyPatch):
    of_a_library("splash", monkeypatch)
    query = normal(0, 1, 1, 128, 32, dtype="bfloat16")
    shown = [
        str(jax.make_jaxpr(lambda q: attention(q, q, q, jnp.ones((1, 128), int), None, None, 1.0, fused))(query))  # noqa: B023
        for fused in (False, True)
    ]
    assert ["pallas_call" in text for text in shown] == [False, True]
