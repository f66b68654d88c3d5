"""The operations that take an encoder's time, in the form that the backend runs fastest.

This is the only file that asks for the backend. On GPU and TPU the compiler chooses kernels itself, so every operation
is written plainly. XLA's compiler for CPUs needs help, measured on a CPU with AVX-512 (docs/performance.md):

- Its library of matrix products multiplies bfloat16 only where the result is float32 and the left side is stored row
  by row. Anything else is converted to float32 first, and gains nothing.
- What automatic differentiation keeps for the backward pass is float32. Written by hand, the backward pass keeps the
  compute dtype, and one array instead of several.
"""

import math
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.layout import Layout, with_layout_constraint
from jaxtyping import Array, Bool, Float

from hybrid_jax.model.precision import ComputeDtype


def on_cpu() -> bool:
    """Whether the functions of this file take their forms for a CPU."""
    return jax.default_backend() == "cpu"


_AMD_WITH_BFLOAT16 = ("gfx908", "gfx90a", "gfx94", "gfx95", "gfx11", "gfx12")
"""AMD's processors that multiply matrices of bfloat16: CDNA (MI100 to MI355X) and RDNA since its third generation. The
other names of gfx9 are Vega's, and those of gfx10 RDNA 1's and 2's, which do not."""


def faster_dtype() -> ComputeDtype:
    """The precision in which this process's devices multiply matrices faster, summing in float32 either way.

    bfloat16 on a TPU, on NVIDIA's GPUs since Ampere, on AMD's of `_AMD_WITH_BFLOAT16`, and on a CPU with instructions
    for it (AVX-512 BF16 or AMX), where a step of MiniLM's size takes .6 to .7 of the time (docs/performance.md).
    Elsewhere float32.
    """
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        cpu = Path("/proc/cpuinfo")
        flags = set(cpu.read_text(encoding="utf-8").split()) if cpu.exists() else set()
        return "bfloat16" if flags & {"avx512_bf16", "amx_bf16"} else "float32"
    capability = getattr(device, "compute_capability", None)  # a GPU's: "9.0" of NVIDIA, "gfx942" of AMD
    if capability is None:
        return "bfloat16"
    number = re.match(r"\d+", str(capability))
    fast = str(capability).startswith(_AMD_WITH_BFLOAT16) if number is None else int(number[0]) >= 8
    return "bfloat16" if fast else "float32"


def row_length_multiple() -> int:
    """Rows of tokens have a multiple of this many positions: a TPU computes tiles of 128."""
    return 64 if on_cpu() else 128


def tokens_at_once() -> int:
    """How many tokens are best encoded in a call: on a CPU few enough for its caches.

    `python -m benchmarks.encoding --tokens 16384` tries another number.
    """
    return 1_024 if on_cpu() else 16_384


def dot_general(inputs: jax.Array, kernel: jax.Array, dimension_numbers: Any, **options: Any) -> jax.Array:
    """`jax.lax.dot_general` for a linear layer, [..., inputs] x [inputs, outputs]; to be given to `nnx.Linear`.

    Products are summed in float32 and returned in the dtype of `inputs`, in the gradients too. Those of float32 are
    products of float32 on every backend.
    """
    options["precision"] = options.get("precision") or _precision(inputs)
    plain = dimension_numbers == (((inputs.ndim - 1,), (0,)), ((), ()))
    if inputs.dtype != jnp.bfloat16 or not on_cpu() or not plain:
        return jax.lax.dot_general(inputs, kernel, dimension_numbers, **options)
    rows = _multiply(inputs.reshape(-1, inputs.shape[-1]), kernel)
    return rows.reshape(*inputs.shape[:-1], kernel.shape[1])


def _precision(inputs: jax.Array) -> str | None:
    """Without "highest" a GPU multiplies float32 matrices as TensorFloat-32, and a TPU as bfloat16."""
    return "highest" if inputs.dtype == jnp.float32 else None


@jax.custom_vjp
def _multiply(left: Float[Array, "n k"], right: Float[Array, "k m"]) -> Float[Array, "n m"]:
    return _dot(left, right)


def _multiply_forward(left: jax.Array, right: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _dot(left, right), (left, right)


def _multiply_backward(saved: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    left, right = saved
    return _dot(gradient, _row_by_row(right.T)), _dot(_row_by_row(left.T), gradient)


_multiply.defvjp(_multiply_forward, _multiply_backward)


def _dot(left: jax.Array, right: jax.Array) -> jax.Array:
    return jnp.matmul(left, right, preferred_element_type=jnp.float32).astype(left.dtype)


def _row_by_row(values: jax.Array) -> jax.Array:
    """`values` stored so that the last axis is contiguous; a transpose alone only changes how memory is read."""
    return with_layout_constraint(values, Layout(major_to_minor=tuple(range(values.ndim))))


def attention(
    query: Float[Array, "rows heads length size"],
    key: Float[Array, "rows heads length size"],
    value: Float[Array, "rows heads length size"],
    mask: Bool[Array, "rows 1 length length"],
    kept: Bool[Array, "rows heads length length"] | None,
    share: float,
) -> Float[Array, "rows heads length size"]:
    """Scaled dot-product attention (Vaswani et al. 2017, eq. 1). Scores and softmax are float32.

    `mask` is True where a token attends to another. `kept`, if given, says which attention weights dropout keeps:
    a `share` of them.
    """
    if not on_cpu():
        weights = _softmax(query, key.swapaxes(2, 3), mask)
        weights = (weights if kept is None else jnp.where(kept, weights / share, 0)).astype(value.dtype)
        return jnp.matmul(weights, value, precision=_precision(value))
    return _attention(query, key, value, mask, kept, share)


def _softmax(query: jax.Array, transposed_key: jax.Array, mask: jax.Array) -> jax.Array:
    scores = jnp.matmul(
        query, transposed_key, precision=_precision(query), preferred_element_type=jnp.float32
    ) / math.sqrt(query.shape[-1])
    return jax.nn.softmax(jnp.where(mask, scores, jnp.finfo(jnp.float32).min), axis=-1)


@partial(jax.custom_vjp, nondiff_argnums=(5,))
def _attention(query, key, value, mask, kept, share):
    return _attention_forward(query, key, value, mask, kept, share)[0]


def _attention_forward(query, key, value, mask, kept, share):
    query, value = _row_by_row(query), _row_by_row(value)
    weights = _softmax(query, _row_by_row(key.swapaxes(2, 3)), mask)
    # Weights are not negative: a minus sign marks those that dropout drops, and no mask is kept for the backward pass.
    signed = (weights if kept is None else jnp.where(kept, weights, -weights)).astype(value.dtype)
    attended = _dot(_without_dropped(signed, kept, share), value)
    return attended, (query, key, value, kept, signed, attended)


def _without_dropped(signed: jax.Array, kept: Any, share: float) -> jax.Array:
    return signed if kept is None else (jnp.maximum(signed, 0).astype(jnp.float32) * (1 / share)).astype(signed.dtype)


def _attention_backward(share, saved, gradient):
    query, key, value, kept, signed, attended = saved
    gradient = _row_by_row(gradient)
    of_weights = jnp.matmul(gradient, _row_by_row(value.swapaxes(2, 3)), preferred_element_type=jnp.float32)
    if kept is not None:
        of_weights = jnp.where(signed > 0, of_weights * (1 / share), 0)
    # Of the softmax: a row's sum of weight x gradient is that of output x gradient (Dao et al. 2022, arXiv 2205.14135).
    mean = jnp.sum(gradient.astype(jnp.float32) * attended.astype(jnp.float32), axis=-1, keepdims=True)
    of_scores = jnp.abs(signed.astype(jnp.float32)) * (of_weights - mean) / math.sqrt(query.shape[-1])
    of_scores = of_scores.astype(query.dtype)
    return (
        _dot(of_scores, key),
        _transposed_dot(of_scores, query),
        _transposed_dot(_without_dropped(signed, kept, share), gradient),
        None,
        None,
    )


def _transposed_dot(left: jax.Array, right: jax.Array) -> jax.Array:
    """left^T right, for a `left` that is larger than `right`: the smaller one is transposed."""
    return _dot(_row_by_row(right.swapaxes(2, 3)), left).swapaxes(2, 3)


_attention.defvjp(_attention_forward, _attention_backward)


def layer_norm(
    values: Float[Array, "*shape width"],
    scale: Float[Array, " width"],
    bias: Float[Array, " width"] | None,
    epsilon: float,
) -> Float[Array, "*shape width"]:
    """LayerNorm (Ba et al. 2016, arXiv 1607.06450) over the last axis, in float32.

    The variance is computed in two passes: E[x^2] - E[x]^2 would lose digits. On a CPU the backward pass is given the
    normalized values, in the dtype of `values`, and nothing else of that size.
    """
    if not on_cpu():
        return _scaled(_normalized(values, epsilon)[0], scale, bias)
    return _layer_norm(values, scale, bias, epsilon)


def _normalized(values: jax.Array, epsilon: float) -> tuple[jax.Array, jax.Array]:
    """The values with mean 0 and variance 1, and what they were multiplied by; both float32."""
    centred = values.astype(jnp.float32) - jnp.mean(values, axis=-1, keepdims=True, dtype=jnp.float32)
    factor = jax.lax.rsqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + epsilon)
    return centred * factor, factor


def _scaled(normalized: jax.Array, scale: jax.Array, bias: jax.Array | None) -> jax.Array:
    return normalized * scale if bias is None else normalized * scale + bias


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _layer_norm(values, scale, bias, epsilon):
    return _layer_norm_forward(values, scale, bias, epsilon)[0]


def _layer_norm_forward(values, scale, bias, epsilon):
    normalized, factor = _normalized(values, epsilon)
    return _scaled(normalized, scale, bias), (normalized.astype(values.dtype), factor, scale, bias)


def _layer_norm_backward(epsilon, saved, gradient):
    stored, factor, scale, bias = saved
    normalized, rows = stored.astype(jnp.float32), tuple(range(gradient.ndim - 1))
    scaled = gradient * scale
    along = jnp.mean(scaled * normalized, axis=-1, keepdims=True)
    of_values = factor * (scaled - jnp.mean(scaled, axis=-1, keepdims=True) - normalized * along)
    of_bias = None if bias is None else jnp.sum(gradient, axis=rows)
    return of_values.astype(stored.dtype), jnp.sum(gradient * normalized, axis=rows), of_bias


_layer_norm.defvjp(_layer_norm_forward, _layer_norm_backward)


def activate(function: Callable[[jax.Array], jax.Array], values: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """An activation function of each value, computed in float32 and returned in the dtype of `values`.

    On a CPU the backward pass computes the derivative again from `values`: GELU written plainly keeps three more arrays
    of this size.
    """
    if not on_cpu():
        return function(values.astype(jnp.float32)).astype(values.dtype)
    return _activate(function, values)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _activate(function, values):
    return function(values.astype(jnp.float32)).astype(values.dtype)


def _activate_forward(function, values):
    return _activate(function, values), values


def _activate_backward(function, values, gradient):
    # The barrier keeps the compiler from taking parts of the derivative from the forward pass, and storing them.
    values, gradient = jax.lax.optimization_barrier((values, gradient))
    _, derivative = jax.vjp(function, values.astype(jnp.float32))
    return (derivative(gradient.astype(jnp.float32))[0].astype(gradient.dtype),)


_activate.defvjp(_activate_forward, _activate_backward)
