"""Operations of a model beside their formulas."""

import jax
import jax.numpy as jnp
import numpy as np

DTYPES = {"float32": 2e-6, "bfloat16": 0.02}
"""dtype -> the largest error, as a share of the largest value: bfloat16 keeps 8 bits, and is rounded twice."""


def normal(seed: int, *shape: int, dtype: str = "float32") -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def values_and_gradients(function, *arguments):
    """`function` and the gradients of its sum weighted at random, all as float32."""
    weights = normal(99, *jax.eval_shape(function, *arguments).shape)
    loss = lambda *arguments: jnp.sum(function(*arguments).astype(jnp.float32) * weights)  # noqa: E731
    gradients = jax.jit(jax.grad(loss, argnums=tuple(range(len(arguments)))))(*arguments)
    return [np.asarray(part, np.float32) for part in (jax.jit(function)(*arguments), *gradients)]


def assert_close(ours, plain, share: float) -> None:
    for one, other in zip(ours, plain, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=share * np.abs(other).max())
