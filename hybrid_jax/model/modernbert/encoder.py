"""The ModernBERT encoder, which mmBERT shares: token ids -> one vector per token.

A pre-LayerNorm transformer as in Warner et al. 2024 (arXiv 2412.13663): rotary positions (Su et al. 2021, arXiv
2104.09864), a gated feed-forward part (Shazeer 2020, arXiv 2002.05202) and two kinds of layers. Tokens attend to their
whole text in "global" layers, and to a window around them in "local" layers.

Parameter names follow Hugging Face's ModernBERT; the table of both names is in `hugging_face.py`. `qkv` is the
concatenation of queries, keys and values; `mlp.input` that of the values and their gates.
"""

import math
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hybrid_jax.model import kernels
from hybrid_jax.model.activations import ACTIVATIONS, Activation
from hybrid_jax.model.attention import check_fused
from hybrid_jax.model.dropout import Noise, dropout, fold
from hybrid_jax.model.layers import LayerNorm, Linear, attend, layer_norm, linear, split_heads
from hybrid_jax.model.precision import Dtype, compute_dtype
from hybrid_jax.model.segments import positions

Kind = Literal["global", "local"]
"""What the tokens of a layer attend to: their whole text, or a window around them."""


class ModernBertConfig(BaseModel):
    """Sizes and conventions of a ModernBERT encoder.

    The default is a small encoder with ModernBERT's conventions. mmBERT's differ in local_rope_theta, which is 160,000.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Literal["modernbert"] = "modernbert"
    """The model family."""
    vocab_size: int = Field(default=32_000, ge=1)
    """Rows of the word embedding: at least the tokenizer's vocabulary."""
    hidden_size: int = Field(default=256, ge=1)
    """Width of a token's vector."""
    num_layers: int = Field(default=4, ge=1)
    """Transformer layers."""
    num_heads: int = Field(default=4, ge=1)
    """Attention heads; must divide hidden_size into parts of an even size."""
    intermediate_size: int = Field(default=384, ge=1)
    """Width of the feed-forward layer after gating, usually 1.5 x hidden_size."""
    max_length: int = Field(default=8192, ge=1)
    """The longest row in tokens. No parameter depends on it."""
    global_layers: Annotated[int, Field(ge=1)] | tuple[Annotated[int, Field(ge=0)], ...] = 3
    """Which layers are global: every n-th, starting with the first, or a list of numbers from 0. The rest are local."""
    local_attention: int = Field(default=128, ge=1)
    """Window of the local layers: a token attends to itself and to local_attention // 2 tokens on either side."""
    global_rope_theta: float = Field(default=160_000.0, gt=0)
    """Base of the rotary positions' wavelengths in global layers."""
    local_rope_theta: float = Field(default=10_000.0, gt=0)
    """Base of the rotary positions' wavelengths in local layers: 10,000 for ModernBERT, 160,000 for mmBERT."""
    activation: Activation = "gelu"
    """Applied to the feed-forward layer's values before they are multiplied by the gates."""
    norm_eps: float = Field(default=1e-5, gt=0)
    """Added to the variance in LayerNorm."""
    norm_bias: bool = False
    """LayerNorm has a bias."""
    attention_bias: bool = False
    """The linear layers of attention have biases."""
    mlp_bias: bool = False
    """The linear layers of the feed-forward part have biases."""
    embedding_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of hidden values dropped after the embeddings, in training."""
    attention_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of attention weights dropped, and of the values that attention returns, in training."""
    fused_attention: bool = False
    """Let cuDNN (NVIDIA's GPUs since Ampere) or splash attention (TPU) compute attention, without storing its
    weights: for long texts. Takes bfloat16 and attention_dropout 0, and changes nothing on other devices. Tested by
    tracing and interpreting; not yet run on a GPU or TPU."""
    mlp_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the gated values dropped inside the feed-forward layer, in training."""
    dtype: Dtype = "auto"
    """Precision of the matrix products and of the result. Parameters, positions, residual sums, LayerNorm and softmax
    are float32 either way. auto: a run takes bfloat16 if its devices are faster in it, and its config.yaml says which;
    a published model takes float32."""
    remat: bool = False
    """Recompute each layer in the backward pass instead of storing its values: less memory, about 1.3x the time."""

    @model_validator(mode="after")
    def _can_be_fused(self) -> "ModernBertConfig":
        check_fused(self.fused_attention, self.dtype, self.attention_dropout)
        return self

    @model_validator(mode="after")
    def _consistent(self) -> "ModernBertConfig":
        if self.hidden_size % self.num_heads:
            raise ValueError(f"num_heads {self.num_heads} does not divide hidden_size {self.hidden_size}")
        if self.hidden_size // self.num_heads % 2:
            raise ValueError(
                f"num_heads {self.num_heads} divides hidden_size {self.hidden_size} into odd parts of"
                f" {self.hidden_size // self.num_heads}, but rotary positions turn pairs: choose an even size"
            )
        listed = self.global_layers
        if isinstance(listed, tuple) and list(listed) != [n for n in range(self.num_layers) if n in listed]:
            raise ValueError(f"global_layers {listed} must be ascending numbers from 0 to {self.num_layers - 1}")
        return self

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kind of each layer, first to last."""
        step_or_list = self.global_layers
        global_layers = range(0, self.num_layers, step_or_list) if isinstance(step_or_list, int) else step_or_list
        return tuple("global" if number in global_layers else "local" for number in range(self.num_layers))


class View(NamedTuple):
    """What all layers of one kind share: each token's segment and the rotation of its position."""

    segments: Int[Array, "rows length"]
    cosine: Float[Array, "rows length half"]
    sine: Float[Array, "rows length half"]


def rotation(
    position: Int[Array, "rows length"], size: int, theta: float
) -> tuple[Float[Array, "rows length half"], Float[Array, "rows length half"]]:
    """Cosine and sine of the angles by which rotary positions rotate a vector of `size` numbers.

    Pair i of the size / 2 pairs is rotated by position * theta^(-2i / size). The angles are float32, with an error of
    about 0.0005 at position 8,192.
    """
    # Computed in numpy: constants of the compiled program, rounded as PyTorch rounds them on every device.
    frequencies = 1 / np.float32(theta) ** (np.arange(0, size, 2, dtype=np.float32) / np.float32(size))
    angles = position[..., None].astype(jnp.float32) * frequencies
    return jnp.cos(angles), jnp.sin(angles)


def rotate(
    values: Float[Array, "rows heads length size"],
    cosine: Float[Array, "rows length half"],
    sine: Float[Array, "rows length half"],
) -> Float[Array, "rows heads length size"]:
    """`values` rotated by their positions, so that the dot product of two vectors depends on their distance alone.

    `cosine` and `sine` come from `rotation`. Number i of a vector's first half and number i of its second half form a
    pair, as in Hugging Face's implementation; the paper pairs neighbours.
    """
    first, second = jnp.split(values.astype(jnp.float32), 2, axis=-1)
    cosine, sine = cosine[:, None], sine[:, None]
    rotated = jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)
    return rotated.astype(values.dtype)


def make_view(kind: Kind, segments: Int[Array, "rows length"], config: ModernBertConfig) -> View:
    """The segments and the rotations for the layers of one kind."""
    theta = config.global_rope_theta if kind == "global" else config.local_rope_theta
    return View(segments, *rotation(positions(segments), config.hidden_size // config.num_heads, theta))


def _normal(deviation: float) -> nnx.Initializer:
    return nnx.initializers.truncated_normal(deviation, lower=-2, upper=2)


def _linear(
    config: ModernBertConfig, inputs: int, outputs: int, bias: bool, rngs: nnx.Rngs, into_sum: bool = False
) -> Linear:
    # Layers that add to the residual sum start smaller, so that the variance of the sum does not grow with its terms.
    init = _normal(0.02 / math.sqrt(2 * config.num_layers) if into_sum else 0.02)
    return linear(inputs, outputs, dtype=config.dtype, init=init, rngs=rngs, bias=bias)


def _norm(config: ModernBertConfig, rngs: nnx.Rngs) -> LayerNorm:
    return layer_norm(config.hidden_size, config.norm_eps, rngs, bias=config.norm_bias)


class ModernBertEmbeddings(nnx.Module):
    """The normalized word embeddings, in float32: the first layer's input."""

    def __init__(self, config: ModernBertConfig, rngs: nnx.Rngs):
        self.config = config
        self.word = nnx.Embed(config.vocab_size, config.hidden_size, embedding_init=_normal(0.02), rngs=rngs)
        self.norm = _norm(config, rngs)

    def __call__(self, tokens: Int[Array, "rows length"], noise: Noise | None) -> Float[Array, "rows length hidden"]:
        return dropout(self.norm(self.word(tokens)), self.config.embedding_dropout, noise)


class RotaryAttention(nnx.Module):
    """Multi-head attention with rotary positions: in a local layer, to the tokens of a window."""

    def __init__(self, config: ModernBertConfig, kind: Kind, rngs: nnx.Rngs):
        width, bias = config.hidden_size, config.attention_bias
        self.config = config
        self.window = config.local_attention // 2 if kind == "local" else None
        self.qkv = _linear(config, width, 3 * width, bias, rngs)
        self.output = _linear(config, width, width, bias, rngs, into_sum=True)

    def __call__(
        self, hidden: Float[Array, "rows length hidden"], view: View, noise: Noise | None
    ) -> Float[Array, "rows length hidden"]:
        rate, fused = self.config.attention_dropout, self.config.fused_attention
        parts = jnp.split(self.qkv(hidden), 3, axis=-1)
        query, key, value = (split_heads(part, self.config.num_heads) for part in parts)
        query, key = (rotate(part, view.cosine, view.sine) for part in (query, key))
        attended = attend(query, key, value, view.segments, self.window, rate, fold(noise, 0), fused)
        return dropout(self.output(attended), rate, fold(noise, 1))


class GatedFeedForward(nnx.Module):
    """output(activation(values) * gates), where `input` computes values and gates."""

    def __init__(self, config: ModernBertConfig, rngs: nnx.Rngs):
        width, inner, bias = config.hidden_size, config.intermediate_size, config.mlp_bias
        self.config = config
        self.input = _linear(config, width, 2 * inner, bias, rngs)
        self.output = _linear(config, inner, width, bias, rngs, into_sum=True)

    def __call__(
        self, hidden: Float[Array, "rows length hidden"], noise: Noise | None
    ) -> Float[Array, "rows length hidden"]:
        values, gates = jnp.split(self.input(hidden), 2, axis=-1)
        gated = kernels.activate(ACTIVATIONS[self.config.activation], values) * gates
        return self.output(dropout(gated, self.config.mlp_dropout, noise))


class ModernBertLayer(nnx.Module):
    """Attention, then feed-forward; each has LayerNorm before it and is added to the residual sum (pre-LN).

    The first layer has no LayerNorm before attention, because the embeddings are already normalized.
    """

    def __init__(self, config: ModernBertConfig, kind: Kind, first: bool, rngs: nnx.Rngs):
        self.first = first
        if not first:
            self.attn_norm = _norm(config, rngs)
        self.attention = RotaryAttention(config, kind, rngs)
        self.mlp_norm = _norm(config, rngs)
        self.mlp = GatedFeedForward(config, rngs)

    def __call__(
        self, hidden: Float[Array, "rows length hidden"], view: View, noise: Noise | None
    ) -> Float[Array, "rows length hidden"]:
        # `hidden` is float32 throughout: in bfloat16, the sum over all layers would lose what the last layers add.
        normed = hidden if self.first else self.attn_norm(hidden)
        hidden = hidden + self.attention(normed, view, fold(noise, 0))
        return hidden + self.mlp(self.mlp_norm(hidden), fold(noise, 1))


class ModernBert(nnx.Module):
    """Token ids -> one vector per token.

    A row may hold several texts, one after the other ("packing"). Tokens attend only within their own text, and
    positions restart with each text, so a text's vectors do not depend on what else is in its row.
    """

    def __init__(self, config: ModernBertConfig, rngs: nnx.Rngs):
        self.config = config
        self.embeddings = ModernBertEmbeddings(config, rngs)
        self.layers = nnx.List(
            [ModernBertLayer(config, kind, number == 0, rngs) for number, kind in enumerate(config.kinds)]
        )
        self.final_norm = _norm(config, rngs)

    def __call__(
        self,
        tokens: Int[Array, "rows length"],
        segments: Int[Array, "rows length"],
        noise: Noise | None = None,
    ) -> Float[Array, "rows length hidden"]:
        """The last layer's hidden states.

        `segments` is 0 for padding and 1, 2, ... for the tokens of a row's first, second, ... text. A row may be
        longer than `max_length`, but none of its texts: the caller must see to that, as a longer text is computed
        without an error. A token id outside the vocabulary gives NaN.
        """
        kinds = self.config.kinds
        views = {kind: make_view(kind, segments, self.config) for kind in sorted(set(kinds))}
        hidden = self.embeddings(tokens, fold(noise, 0))
        for number, (layer, kind) in enumerate(zip(self.layers, kinds, strict=True), start=1):
            apply = jax.checkpoint(ModernBertLayer.__call__) if self.config.remat else ModernBertLayer.__call__
            hidden = apply(layer, hidden, views[kind], fold(noise, number))
        return self.final_norm(hidden).astype(compute_dtype(self.config.dtype))
