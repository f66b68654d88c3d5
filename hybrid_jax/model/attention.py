"""Attention within each text of a row, in the form that the backend runs fastest.

| where | what | attention weights |
|---|---|---|
| CPU | written out, with its own backward pass | stored once, in the compute dtype |
| NVIDIA's GPUs | cuDNN (`jax.nn.dot_product_attention`) | not stored; a mask is, [rows, length, length] |
| TPU | splash attention (`jax.experimental.pallas.ops.tpu`) | neither weights nor a mask are stored |
| elsewhere, and with what a library does not take | written plainly | stored |

The libraries are used where a config asks for them (`fused_attention`). They take bfloat16 only
(`kernels.fused_attention`) and know no dropout whose masks belong to the texts. Neither has been run on the hardware
that it is made for, only traced for it (cuDNN) and interpreted (splash): tests/model/test_attention.py. The backward
pass of cuDNN adds up in any order unless XLA_FLAGS has --xla_gpu_deterministic_ops=true, and jax 0.10 has it compute
the gradient of the mask for nothing.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from hybrid_jax.model import kernels
from hybrid_jax.model.kernels import precision, product, row_by_row
from hybrid_jax.model.precision import Dtype
from hybrid_jax.model.segments import attends


def attention(
    query: Float[Array, "rows heads length size"],
    key: Float[Array, "rows heads length size"],
    value: Float[Array, "rows heads length size"],
    segments: Int[Array, "rows length"],
    window: int | None,
    kept: Bool[Array, "rows heads length length"] | None,
    share: float,
    fused: bool,
) -> Float[Array, "rows heads length size"]:
    """Scaled dot-product attention (Vaswani et al. 2017, eq. 1). Scores and softmax are float32.

    A token attends to those of its segment that are at most `window` tokens away; None: to all of them. `kept`, if
    given, says which attention weights dropout keeps: a `share` of them. `fused` lets a library compute it.
    """
    library = kernels.fused_attention(query.dtype, *query.shape[2:]) if fused and kept is None else None
    if library is not None:
        return _on_each_device(
            partial({"cudnn": _cudnn, "splash": _splash}[library], window), query, key, value, segments
        )
    mask = attends(segments, window)
    if kernels.on_cpu():
        return _for_a_cpu(query, key, value, mask, kept, share)
    weights = _softmax(query, key.swapaxes(2, 3), mask)
    weights = (weights if kept is None else jnp.where(kept, weights / share, 0)).astype(value.dtype)
    return jnp.matmul(weights, value, precision=precision(value))


def check_fused(fused: bool, dtype: Dtype, dropout: float) -> None:
    """Raises ValueError where a config asks for fused attention that no library computes."""
    if fused and (dtype == "float32" or dropout > 0):
        wrong = "dtype float32" if dtype == "float32" else f"attention_dropout {dropout}"
        raise ValueError(f"fused_attention takes bfloat16 and attention_dropout 0, not {wrong}")


def _on_each_device(compute, *rows):
    """Each device computes its own rows: the compiler cannot split a kernel over devices itself.

    The devices are those of the mesh that is set (`runtime.mesh.seen_by_kernels`); without one there is one device.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return compute(*rows)
    split = PartitionSpec(mesh.axis_names)
    return jax.shard_map(compute, in_specs=(split,) * len(rows), out_specs=split, check_vma=False)(*rows)


def _cudnn(window, query, key, value, segments):
    swapped = (part.swapaxes(1, 2) for part in (query, key, value))
    mask = attends(segments, window)
    return jax.nn.dot_product_attention(*swapped, mask=mask, implementation="cudnn").swapaxes(1, 2)


def _splash(window, query, key, value, segments):
    # Imports Pallas, which nothing else needs.
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel, splash_attention_mask

    _, heads, length, size = query.shape
    scaled = (query.astype(jnp.float32) / math.sqrt(size)).astype(query.dtype)
    square, block = (length, length), next(block for block in (512, 256, 128) if length % block == 0)
    mask = splash_attention_mask.FullMask(square)
    if window is not None:
        mask = splash_attention_mask.LocalMask(square, (window, window), offset=0)
    kernel = splash_attention_kernel.make_splash_mha_single_device(
        splash_attention_mask.MultiHeadMask([mask] * heads),
        block_sizes=splash_attention_kernel.BlockSizes(
            **dict.fromkeys(("block_q", "block_kv", "block_q_dkv", "block_kv_dkv", "block_kv_dkv_compute"), block),
            **dict.fromkeys(("block_q_dq", "block_kv_dq"), block),
        ),
        interpret=jax.default_backend() != "tpu",
    )
    ids = splash_attention_kernel.SegmentIds(segments, segments)
    return jax.vmap(kernel)(scaled, key, value, ids)


def _softmax(query: jax.Array, transposed_key: jax.Array, mask: jax.Array) -> jax.Array:
    scores = jnp.matmul(
        query, transposed_key, precision=precision(query), preferred_element_type=jnp.float32
    ) / math.sqrt(query.shape[-1])
    return jax.nn.softmax(jnp.where(mask, scores, jnp.finfo(jnp.float32).min), axis=-1)


@partial(jax.custom_vjp, nondiff_argnums=(5,))
def _for_a_cpu(query, key, value, mask, kept, share):
    return _forward(query, key, value, mask, kept, share)[0]


def _forward(query, key, value, mask, kept, share):
    query, value = row_by_row(query), row_by_row(value)
    weights = _softmax(query, row_by_row(key.swapaxes(2, 3)), mask)
    # Weights are not negative: a minus sign marks those that dropout drops, and no mask is kept for the backward pass.
    signed = (weights if kept is None else jnp.where(kept, weights, -weights)).astype(value.dtype)
    attended = product(_without_dropped(signed, kept, share), value)
    return attended, (query, key, value, kept, signed, attended)


def _without_dropped(signed: jax.Array, kept: Any, share: float) -> jax.Array:
    return signed if kept is None else (jnp.maximum(signed, 0).astype(jnp.float32) * (1 / share)).astype(signed.dtype)


def _backward(share, saved, gradient):
    query, key, value, kept, signed, attended = saved
    gradient = row_by_row(gradient)
    of_weights = jnp.matmul(gradient, row_by_row(value.swapaxes(2, 3)), preferred_element_type=jnp.float32)
    if kept is not None:
        of_weights = jnp.where(signed > 0, of_weights * (1 / share), 0)
    # Of the softmax: a row's sum of weight x gradient is that of output x gradient (Dao et al. 2022, arXiv 2205.14135).
    mean = jnp.sum(gradient.astype(jnp.float32) * attended.astype(jnp.float32), axis=-1, keepdims=True)
    of_scores = jnp.abs(signed.astype(jnp.float32)) * (of_weights - mean) / math.sqrt(query.shape[-1])
    of_scores = of_scores.astype(query.dtype)
    return (
        product(of_scores, key),
        _transposed_product(of_scores, query),
        _transposed_product(_without_dropped(signed, kept, share), gradient),
        None,
        None,
    )


def _transposed_product(left: jax.Array, right: jax.Array) -> jax.Array:
    """left^T right, for a `left` that is larger than `right`: the smaller one is transposed."""
    return product(row_by_row(right.swapaxes(2, 3)), left).swapaxes(2, 3)


_for_a_cpu.defvjp(_forward, _backward)
