"""What encoders of all families are built from: attention within each text of a row, linear and normal layers.

Functions of arrays, and makers of Flax layers. What is fast on which backend is decided in `kernels.py`.
"""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from hybrid_jax.model import kernels
from hybrid_jax.model.attention import attention
from hybrid_jax.model.dropout import Noise, kept_weights
from hybrid_jax.model.precision import Dtype, compute_dtype


def split_heads(values: Float[Array, "rows length hidden"], heads: int) -> Float[Array, "rows heads length size"]:
    """Splits the last axis into heads and moves them before the positions.

    Attention is then plain batched matrix products. On CPU these are faster than an einsum over
    [rows, length, heads, size] and than `jax.nn.dot_product_attention`.
    """
    rows, length, width = values.shape
    return values.reshape(rows, length, heads, width // heads).transpose(0, 2, 1, 3)


def attend(
    query: Float[Array, "rows heads length size"],
    key: Float[Array, "rows heads length size"],
    value: Float[Array, "rows heads length size"],
    segments: Int[Array, "rows length"],
    window: int | None,
    rate: float,
    noise: Noise | None,
    fused: bool,
) -> Float[Array, "rows length hidden"]:
    """Scaled dot-product attention, with the heads concatenated in the result.

    A token attends to those of its segment that are at most `window` tokens away; None: to all of them. `rate` is the
    share of attention weights that are dropped. `fused` is a config's `fused_attention`.
    """
    rows, heads, length, size = query.shape
    attended = attention(query, key, value, segments, window, kept_weights(heads, rate, noise), 1 - rate, fused)
    return attended.transpose(0, 2, 1, 3).reshape(rows, length, heads * size)


class Linear(nnx.Linear):
    """`nnx.Linear` that adds its bias in float32, whatever `dtype` it multiplies in: the sum is rounded once.

    The bias's gradient is then a sum in float32, which is exact, and on a CPU 30 times as fast as one in bfloat16.
    """

    def __call__(
        self, inputs: Float[Array, "*shape inputs"], out_sharding: None = None
    ) -> Float[Array, "*shape outputs"]:
        contract_last = (((inputs.ndim - 1,), (0,)), ((), ()))
        product = self.dot_general(inputs.astype(self.dtype), self.kernel[...].astype(self.dtype), contract_last)
        if self.bias is None:
            return product
        return (product.astype(jnp.float32) + self.bias[...]).astype(self.dtype)


def linear(
    inputs: int, outputs: int, *, dtype: Dtype, init: nnx.Initializer, rngs: nnx.Rngs, bias: bool = True
) -> Linear:
    """A linear layer that multiplies in `dtype` and keeps its parameters in float32."""
    return Linear(
        inputs,
        outputs,
        use_bias=bias,
        dtype=compute_dtype(dtype),
        param_dtype=jnp.float32,
        kernel_init=init,
        dot_general=kernels.dot_general,
        rngs=rngs,
    )


class LayerNorm(nnx.LayerNorm):
    """`nnx.LayerNorm` in float32, as `kernels.layer_norm` computes it."""

    def __call__(self, values: Float[Array, "*shape width"], **_: object) -> Float[Array, "*shape width"]:
        assert self.scale is not None  # `layer_norm` makes one
        bias = None if self.bias is None else self.bias[...]
        return kernels.layer_norm(values, self.scale[...], bias, self.epsilon)


def layer_norm(width: int, epsilon: float, rngs: nnx.Rngs, bias: bool = True) -> LayerNorm:
    """A LayerNorm over vectors of this width, with its parameters in float32."""
    return LayerNorm(width, epsilon=epsilon, use_bias=bias, dtype=jnp.float32, rngs=rngs)
