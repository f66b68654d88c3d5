"""The ModernBERT encoder (mmBERT's too): token ids -> one vector per token.

Knows: token ids, segments (which text of a row a token belongs to) and the conventions of ModernBERT.
Does not know: queries, passages, pooling, losses, devices, Hugging Face files.

Pre-LayerNorm transformer as in Warner et al. 2024 (arXiv 2412.13663): rotary positions (Su et al. 2021, arXiv
2104.09864), gated feed-forward (Shazeer 2020, arXiv 2002.05202), and two kinds of layers: "global" ones, whose tokens
see their whole text, and "local" ones, whose tokens see their neighbours. Parameter names follow Hugging Face's
ModernBERT, so that published weights can be mapped by a table:

    Hugging Face                                                    here
    embeddings.tok_embeddings, .norm                                embeddings.word, .norm
    layers.N.attn_norm (not in layer 0)                             layers.N.attn_norm (not in layer 0)
    layers.N.attn.Wqkv, .Wo                                         layers.N.attention.qkv, .output
    layers.N.mlp_norm                                               layers.N.mlp_norm
    layers.N.mlp.Wi, .Wo                                            layers.N.mlp.input, .output
    final_norm                                                      final_norm

`qkv` holds queries, keys and values side by side, `mlp.input` the values and then their gates. Dropout works as in
`encoder`: its key is an argument, folded in the place where it is used.
"""

import math
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hybrid_jax.model.activations import ACTIVATIONS, Activation
from hybrid_jax.model.layers import (
    DropoutKey,
    attend,
    check_length,
    dropout,
    fold,
    layer_norm,
    linear,
    positions,
    same_text,
    split_heads,
)

Kind = Literal["global", "local"]
"""What a layer's tokens see: their whole text, or their neighbours in it."""


class ModernBertConfig(BaseModel):
    """The size and conventions of one encoder. A small one by default, with ModernBERT's conventions; mmBERT differs
    from them in local_rope_theta, which is 160,000."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Literal["modernbert"] = "modernbert"
    """Tells this encoder's config from those of other architectures."""
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
    """Which layers are global: every n-th from the first on, or just these numbers, from 0. The others are local."""
    local_attention: int = Field(default=128, ge=1)
    """A local layer's window in tokens: a token sees itself and local_attention // 2 neighbours on either side."""
    global_rope_theta: float = Field(default=160_000.0, gt=0)
    """Base of the rotary positions' wavelengths in global layers."""
    local_rope_theta: float = Field(default=10_000.0, gt=0)
    """Base of the rotary positions' wavelengths in local layers: 10,000 for ModernBERT, 160,000 for mmBERT."""
    activation: Activation = "gelu"
    """The function that the feed-forward layer's values go through before gating."""
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
    """Share of attention weights dropped, and of hidden values after attention, in training."""
    mlp_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the gated values dropped within the feed-forward layer, in training."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the matrix products and of the result. Parameters, positions, residual sums, LayerNorm and softmax
    are float32 either way."""
    remat: bool = False
    """Compute each layer again in the backward pass instead of keeping its values: less memory, about 1.3x the time."""

    @model_validator(mode="after")
    def _consistent(self) -> "ModernBertConfig":
        if self.hidden_size % self.num_heads:
            raise ValueError(f"num_heads {self.num_heads} does not divide hidden_size {self.hidden_size}")
        if self.hidden_size // self.num_heads % 2:
            raise ValueError(
                f"num_heads {self.num_heads} divides hidden_size {self.hidden_size} into odd parts of"
                f" {self.hidden_size // self.num_heads}, but rotary positions turn pairs: choose an even size"
            )
        named = self.global_layers
        if isinstance(named, tuple) and (list(named) != sorted(set(named)) or any(n >= self.num_layers for n in named)):
            raise ValueError(f"global_layers {named} must be ascending numbers from 0 to {self.num_layers - 1}")
        return self

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Each layer's kind, from the first on."""
        named = self.global_layers
        whole = range(0, self.num_layers, named) if isinstance(named, int) else named
        return tuple("global" if number in whole else "local" for number in range(self.num_layers))


class View(NamedTuple):
    """What all layers of one kind share: who sees whom, and how far each token's position turns its vectors."""

    mask: Bool[Array, "rows 1 length length"]
    """True where the token of the third axis sees that of the fourth."""
    cosine: Float[Array, "rows length half"]
    sine: Float[Array, "rows length half"]


def rotation(
    places: Int[Array, "rows length"], size: int, theta: float
) -> tuple[Float[Array, "rows length half"], Float[Array, "rows length half"]]:
    """Cosine and sine of the angles by which rotary positions turn the pairs of a vector of `size` at these places.

    Pair i of size / 2 turns by theta^(-2i / size) per token; in float32, whose rounding at place 8,192 is worth 0.0005.
    """
    # In numpy: constants of the compiled program, rounded as PyTorch rounds them, on every device.
    frequencies = 1 / np.float32(theta) ** (np.arange(0, size, 2, dtype=np.float32) / np.float32(size))
    angles = places[..., None].astype(jnp.float32) * frequencies
    return jnp.cos(angles), jnp.sin(angles)


def rotate(
    values: Float[Array, "rows heads length size"],
    cosine: Float[Array, "rows length half"],
    sine: Float[Array, "rows length half"],
) -> Float[Array, "rows heads length size"]:
    """`values` turned by their positions: a product of two of them depends on their distance alone.

    Number i of a vector's first half and number i of its second half are a pair (Hugging Face's layout; the paper pairs
    neighbours).
    """
    first, second = jnp.split(values.astype(jnp.float32), 2, axis=-1)
    cosine, sine = cosine[:, None], sine[:, None]
    turned = jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)
    return turned.astype(values.dtype)


def view(kind: Kind, segments: Int[Array, "rows length"], config: ModernBertConfig) -> View:
    """What the tokens of a row see in the layers of one kind. Padding sees padding, so that every token sees some."""
    mask = same_text(segments)
    if kind == "local":
        # A text's tokens stand side by side: their distance in the row is that in the text.
        place = jnp.arange(segments.shape[1])
        mask &= jnp.abs(place[:, None] - place) <= config.local_attention // 2
    theta = config.global_rope_theta if kind == "global" else config.local_rope_theta
    return View(mask, *rotation(positions(segments), config.hidden_size // config.num_heads, theta))


def _normal(deviation: float) -> nnx.Initializer:
    return nnx.initializers.truncated_normal(deviation, lower=-2, upper=2)


def _linear(
    config: ModernBertConfig, inputs: int, outputs: int, bias: bool, rngs: nnx.Rngs, into_sum: bool = False
) -> nnx.Linear:
    # The layers whose results are added to the residual sum start smaller, by the number of terms of that sum: its
    # variance is then that of one layer.
    init = _normal(0.02 / math.sqrt(2 * config.num_layers) if into_sum else 0.02)
    return linear(inputs, outputs, dtype=config.dtype, init=init, rngs=rngs, bias=bias)


def _norm(config: ModernBertConfig, rngs: nnx.Rngs) -> nnx.LayerNorm:
    return layer_norm(config.hidden_size, config.norm_eps, rngs, bias=config.norm_bias)


class ModernBertEmbeddings(nnx.Module):
    """Token ids -> the first layer's input, float32."""

    def __init__(self, config: ModernBertConfig, rngs: nnx.Rngs):
        self.config = config
        self.word = nnx.Embed(config.vocab_size, config.hidden_size, embedding_init=_normal(0.02), rngs=rngs)
        self.norm = _norm(config, rngs)

    def __call__(self, tokens: Int[Array, "rows length"], key: DropoutKey) -> Float[Array, "rows length hidden"]:
        return dropout(self.norm(self.word(tokens)), self.config.embedding_dropout, key)


class RotaryAttention(nnx.Module):
    """Multi-head attention of each token to those that it sees."""

    def __init__(self, config: ModernBertConfig, rngs: nnx.Rngs):
        width, bias = config.hidden_size, config.attention_bias
        self.config = config
        self.qkv = _linear(config, width, 3 * width, bias, rngs)
        self.output = _linear(config, width, width, bias, rngs, into_sum=True)

    def __call__(
        self, hidden: Float[Array, "rows length hidden"], seen: View, key: DropoutKey
    ) -> Float[Array, "rows length hidden"]:
        rate = self.config.attention_dropout
        parts = jnp.split(self.qkv(hidden), 3, axis=-1)
        query, keys, value = (split_heads(part, self.config.num_heads) for part in parts)
        query, keys = (rotate(part, seen.cosine, seen.sine) for part in (query, keys))
        return dropout(self.output(attend(query, keys, value, seen.mask, rate, fold(key, 0))), rate, fold(key, 1))


class GatedFeedForward(nnx.Module):
    """Two layers with a gate between them: output(activation(values) * gates)."""

    def __init__(self, config: ModernBertConfig, rngs: nnx.Rngs):
        width, inner, bias = config.hidden_size, config.intermediate_size, config.mlp_bias
        self.config = config
        self.input = _linear(config, width, 2 * inner, bias, rngs)
        self.output = _linear(config, inner, width, bias, rngs, into_sum=True)

    def __call__(
        self, hidden: Float[Array, "rows length hidden"], key: DropoutKey
    ) -> Float[Array, "rows length hidden"]:
        values, gates = jnp.split(self.input(hidden), 2, axis=-1)
        gated = ACTIVATIONS[self.config.activation](values) * gates
        return self.output(dropout(gated, self.config.mlp_dropout, key))


class ModernBertLayer(nnx.Module):
    """Attention and feed-forward, each a residual sum with LayerNorm before it (pre-LN).

    The first layer has no LayerNorm before attention: its input comes from that of the embeddings.
    """

    def __init__(self, config: ModernBertConfig, first: bool, rngs: nnx.Rngs):
        self.first = first
        if not first:
            self.attn_norm = _norm(config, rngs)
        self.attention = RotaryAttention(config, rngs)
        self.mlp_norm = _norm(config, rngs)
        self.mlp = GatedFeedForward(config, rngs)

    def __call__(
        self, hidden: Float[Array, "rows length hidden"], seen: View, key: DropoutKey
    ) -> Float[Array, "rows length hidden"]:
        # `hidden` stays float32 throughout: a sum over all layers would lose in bfloat16 what the last of them add.
        hidden = hidden + self.attention(hidden if self.first else self.attn_norm(hidden), seen, fold(key, 0))
        return hidden + self.mlp(self.mlp_norm(hidden), fold(key, 1))


class ModernBert(nnx.Module):
    """Token ids -> one vector per token, each text of a row on its own.

    A row may hold several texts, one after the other ("packing"): tokens see only their own text and positions start
    again with each, so that a text's vectors are the same wherever it stands.
    """

    def __init__(self, config: ModernBertConfig, rngs: nnx.Rngs):
        self.config = config
        self.embeddings = ModernBertEmbeddings(config, rngs)
        self.layers = nnx.List([ModernBertLayer(config, number == 0, rngs) for number in range(config.num_layers)])
        self.final_norm = _norm(config, rngs)

    def __call__(
        self,
        tokens: Int[Array, "rows length"],
        segments: Int[Array, "rows length"],
        dropout_key: DropoutKey = None,
    ) -> Float[Array, "rows length hidden"]:
        """`segments` is 0 for padding and 1, 2, ... for the tokens of a row's first, second, ... text.

        Raises ValueError when rows are longer than `max_length`. A token id outside the vocabulary gives NaN.
        """
        check_length(tokens, self.config.max_length)
        kinds = self.config.kinds
        views = {kind: view(kind, segments, self.config) for kind in sorted(set(kinds))}
        hidden = self.embeddings(tokens, fold(dropout_key, 0))
        for number, (layer, kind) in enumerate(zip(self.layers, kinds, strict=True), start=1):
            apply = jax.checkpoint(ModernBertLayer.__call__) if self.config.remat else ModernBertLayer.__call__
            hidden = apply(layer, hidden, views[kind], fold(dropout_key, number))
        return self.final_norm(hidden).astype(self.config.dtype)
