"""The operations that take an encoder's time, in the form that the backend runs fastest; attention is in its own file.

This is the only file that asks for the backend. On GPU and TPU the compiler chooses kernels itself, so every operation
here is written plainly. XLA's compiler for CPUs needs help, measured on a CPU with AVX-512 (docs/performance.md):

- Its library of matrix products multiplies bfloat16 only where the result is float32 and the left side is stored row
  by row. Anything else is converted to float32 first, and gains nothing.
- What automatic differentiation keeps for the backward pass is float32. Written by hand, the backward pass keeps the
  compute dtype, and one array instead of several.
"""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.experimental.layout import Layout, with_layout_constraint
from jaxtyping import Array, Float

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
    fast = _is_ampere_or_later(device) or str(capability).startswith(_AMD_WITH_BFLOAT16)
    return "bfloat16" if fast else "float32"


def _is_ampere_or_later(device: Any) -> bool:
    """Whether this is a GPU of NVIDIA's, of compute capability 8.0 or more."""
    major = re.match(r"\d+", str(getattr(device, "compute_capability", "")))
    return major is not None and int(major[0]) >= 8


def fused_attention(dtype: Any, length: int, size: int) -> Literal["cudnn", "splash"] | None:
    """The library that computes attention of rows of `length` tokens and heads of `size` without storing its weights.

    cuDNN on NVIDIA's GPUs since Ampere, splash attention on a TPU; None elsewhere, and where the library does not take
    such inputs. Neither multiplies float32 as float32.
    """
    device = jax.local_devices()[0]
    if dtype != jnp.bfloat16:
        return None
    if device.platform == "tpu":
        return "splash" if length % 128 == 0 else None
    return "cudnn" if _is_ampere_or_later(device) and length % 2 == 0 and size % 8 == 0 and size <= 128 else None


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
    options["precision"] = options.get("precision") or precision(inputs)
    plain = dimension_numbers == (((inputs.ndim - 1,), (0,)), ((), ()))
    if inputs.dtype != jnp.bfloat16 or not on_cpu() or not plain:
        return jax.lax.dot_general(inputs, kernel, dimension_numbers, **options)
    rows = _multiply(inputs.reshape(-1, inputs.shape[-1]), kernel)
    return rows.reshape(*inputs.shape[:-1], kernel.shape[1])


def precision(inputs: jax.Array) -> str | None:
    """Without "highest" a GPU multiplies float32 matrices as TensorFloat-32, and a TPU as bfloat16."""
    return "highest" if inputs.dtype == jnp.float32 else None


@jax.custom_vjp
def _multiply(left: Float[Array, "n k"], right: Float[Array, "k m"]) -> Float[Array, "n m"]:
    return product(left, right)


def _multiply_forward(left: jax.Array, right: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return product(left, right), (left, right)


def _multiply_backward(saved: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    left, right = saved
    return product(gradient, row_by_row(right.T)), product(row_by_row(left.T), gradient)


_multiply.defvjp(_multiply_forward, _multiply_backward)


def product(left: jax.Array, right: jax.Array) -> jax.Array:
    return jnp.matmul(left, right, preferred_element_type=jnp.float32).astype(left.dtype)


def row_by_row(values: jax.Array) -> jax.Array:
    """`values` stored so that the last axis is contiguous; a transpose alone only changes how memory is read."""
    return with_layout_constraint(values, Layout(major_to_minor=tuple(range(values.ndim))))


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
