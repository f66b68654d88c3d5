"""Activation functions by the names that our configs use, and the names that Hugging Face and PyTorch have for them."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

Activation = Literal["identity", "gelu", "gelu_tanh", "relu", "silu", "tanh", "sigmoid", "softplus", "elu", "mish"]

ACTIVATIONS: dict[Activation, Callable[[jax.Array], jax.Array]] = {
    "identity": lambda values: values,
    "gelu": lambda values: jax.nn.gelu(values, approximate=False),
    "gelu_tanh": lambda values: jax.nn.gelu(values, approximate=True),
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "softplus": jax.nn.softplus,
    "elu": jax.nn.elu,
    "mish": jax.nn.mish,
}

HUGGING_FACE: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "mish": "mish",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
}
"""The names in a transformers config -> ours. Where several mean the same function, the first is the one we write."""

TORCH: dict[str, Activation] = {
    "Identity": "identity",
    "Tanh": "tanh",
    "GELU": "gelu",
    "ReLU": "relu",
    "SiLU": "silu",
    "Sigmoid": "sigmoid",
    "Softplus": "softplus",
    "ELU": "elu",
    "Mish": "mish",
}
"""The class of a sentence-transformers Dense module's `activation_function`, made without arguments -> ours."""
