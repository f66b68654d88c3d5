"""The BERT-family encoder: token ids -> one vector per token.

Knows: token ids, segments (which text of a row a token belongs to) and the conventions of BERT and of RoBERTa / XLM-R.
Does not know: queries, passages, pooling, losses, devices, Hugging Face files.

Post-LayerNorm transformer as in Devlin et al. 2018 (arXiv 1810.04805). Parameter names follow Hugging Face's BERT, with
its wrappers left out, so that published weights can be mapped by a table:

    Hugging Face                                                    here
    embeddings.word_embeddings, .position_embeddings                embeddings.word, .position
    embeddings.token_type_embeddings, .LayerNorm                    embeddings.token_type, .norm
    encoder.layer.N.attention.self.query, .key, .value              layers.N.attention.query, .key, .value
    encoder.layer.N.attention.output.dense                          layers.N.attention.output
    encoder.layer.N.attention.output.LayerNorm                      layers.N.attention_norm
    encoder.layer.N.intermediate.dense                              layers.N.intermediate
    encoder.layer.N.output.dense, .LayerNorm                        layers.N.output, .output_norm

Dropout takes its key as an argument and folds in the place where it is used: the same key gives the same masks, on any
number of devices, and no counter has to be saved. (An `nnx.Dropout` counter does not advance under `jax.grad` inside
`jax.jit`: the same mask at every step, silently.)
"""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hybrid_jax.model.activations import ACTIVATIONS, Activation

DropoutKey = Key[Array, ""] | None
"""A typed key (`jax.random.key`), or None for no dropout."""


class EncoderConfig(BaseModel):
    """The size and conventions of one encoder. BERT: position_offset 0, type_vocab_size 2, layer_norm_eps 1e-12.
    RoBERTa and XLM-R: position_offset 2 (their padding id + 1), type_vocab_size 1, layer_norm_eps 1e-5."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Literal["bert"] = "bert"
    """BERT, RoBERTa and XLM-R are one architecture; "modernbert" is another (see `ModernBertConfig`)."""
    vocab_size: int = Field(default=32_000, ge=1)
    """Rows of the word embedding: at least the tokenizer's vocabulary."""
    hidden_size: int = Field(default=256, ge=1)
    """Width of a token's vector."""
    num_layers: int = Field(default=4, ge=1)
    """Transformer layers."""
    num_heads: int = Field(default=4, ge=1)
    """Attention heads; must divide hidden_size."""
    intermediate_size: int = Field(default=1024, ge=1)
    """Width of the feed-forward layer, usually 4 x hidden_size."""
    activation: Activation = "gelu"
    """The function between the two halves of the feed-forward layer."""
    max_length: int = Field(default=512, ge=1)
    """The longest row in tokens. The position embedding has this many rows, plus position_offset."""
    position_offset: int = Field(default=0, ge=0)
    """Number of a text's first position: 0 for BERT, 2 for RoBERTa and XLM-R."""
    type_vocab_size: int = Field(default=1, ge=1)
    """Rows of the token-type embedding, of which texts use row 0: 2 for BERT, 1 for RoBERTa and XLM-R."""
    layer_norm_eps: float = Field(default=1e-12, gt=0)
    """Added to the variance in LayerNorm: 1e-12 for BERT, 1e-5 for RoBERTa and XLM-R."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of hidden values dropped after the embeddings, attention and feed-forward, in training."""
    attention_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of attention weights dropped, in training."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the matrix products. Parameters, LayerNorm and softmax are float32 either way."""
    remat: bool = False
    """Compute each layer again in the backward pass instead of keeping its values: less memory, about 1.3x the time."""

    @model_validator(mode="after")
    def _heads_divide(self) -> "EncoderConfig":
        if self.hidden_size % self.num_heads:
            raise ValueError(f"num_heads {self.num_heads} does not divide hidden_size {self.hidden_size}")
        return self


def positions(segments: Int[Array, "rows length"]) -> Int[Array, "rows length"]:
    """Each token's number within its own text, from 0; 0 for padding. Texts are contiguous runs of equal segments."""
    place = jnp.arange(segments.shape[1])
    starts = jnp.pad(segments[:, 1:] != segments[:, :-1], ((0, 0), (1, 0)), constant_values=True)
    start = jax.lax.cummax(jnp.where(starts, place, 0), axis=1)
    return jnp.where(segments > 0, place - start, 0)


def dropout(values: Float[Array, "*shape"], rate: float, key: DropoutKey) -> Float[Array, "*shape"]:
    """Zeroes a share `rate` of `values` and scales up the rest so that the mean stays; does nothing without a key.

    Each random word decides two values with 16 bits (`rate` is rounded to 1/65536), for half the cost: on a CPU the
    random numbers are what dropout costs.
    """
    if key is None or rate == 0:
        return values
    *leading, last = values.shape
    words = jax.random.bits(key, (*leading, (last + 1) // 2), jnp.uint32)
    bits = jnp.concatenate([words >> 16, words & 0xFFFF], axis=-1)[..., :last]
    kept = round((1 - rate) * 65536)
    return jnp.where(bits < kept, values * (65536 / kept), 0).astype(values.dtype)


def fold(key: DropoutKey, place: int) -> DropoutKey:
    """The key of one place in the model; None stays None."""
    return None if key is None else jax.random.fold_in(key, place)


_NORMAL = nnx.initializers.normal(0.02)


def _linear(config: EncoderConfig, inputs: int, outputs: int, rngs: nnx.Rngs) -> nnx.Linear:
    dtype = jnp.dtype(config.dtype)
    return nnx.Linear(inputs, outputs, dtype=dtype, param_dtype=jnp.float32, kernel_init=_NORMAL, rngs=rngs)


def _norm(config: EncoderConfig, rngs: nnx.Rngs) -> nnx.LayerNorm:
    # The fast variance, E[x^2] - E[x]^2, loses digits that the two-pass one (BERT's) keeps.
    epsilon = config.layer_norm_eps
    return nnx.LayerNorm(config.hidden_size, epsilon=epsilon, dtype=jnp.float32, use_fast_variance=False, rngs=rngs)


class Embeddings(nnx.Module):
    """Token ids and positions -> the first layer's input."""

    def __init__(self, config: EncoderConfig, rngs: nnx.Rngs):
        def table(rows: int) -> nnx.Embed:
            return nnx.Embed(rows, config.hidden_size, embedding_init=_NORMAL, rngs=rngs)

        self.config = config
        self.word = table(config.vocab_size)
        self.position = table(config.max_length + config.position_offset)
        self.token_type = table(config.type_vocab_size)
        self.norm = _norm(config, rngs)

    def __call__(
        self, tokens: Int[Array, "rows length"], segments: Int[Array, "rows length"], dropout_key: DropoutKey
    ) -> Float[Array, "rows length hidden"]:
        position = self.position(positions(segments) + self.config.position_offset)
        summed = self.word(tokens) + position + self.token_type.embedding[0]
        return dropout(self.norm(summed).astype(self.config.dtype), self.config.dropout, dropout_key)


def split_heads(values: Float[Array, "rows length hidden"], heads: int) -> Float[Array, "rows heads length size"]:
    """Heads before positions: plain batched matrix products, measured faster on CPU than an einsum over
    [rows, length, heads, size] and than jax.nn.dot_product_attention, which has no dropout besides."""
    rows, length, width = values.shape
    return values.reshape(rows, length, heads, width // heads).transpose(0, 2, 1, 3)


def attend(
    query: Float[Array, "rows heads length size"],
    keys: Float[Array, "rows heads length size"],
    value: Float[Array, "rows heads length size"],
    mask: Bool[Array, "rows 1 length length"],
    rate: float,
    key: DropoutKey,
) -> Float[Array, "rows length hidden"]:
    """Scaled dot-product attention, scores and softmax in float32, the heads side by side again.

    Every token must see one: padding sees padding, so that no row of the softmax is empty; nothing reads the result.
    """
    rows, heads, length, size = query.shape
    scores = jnp.matmul(query, keys.swapaxes(2, 3), preferred_element_type=jnp.float32) / math.sqrt(size)
    weights = jax.nn.softmax(jnp.where(mask, scores, jnp.finfo(jnp.float32).min), axis=-1)
    weights = dropout(weights.astype(value.dtype), rate, key)
    return (weights @ value).transpose(0, 2, 1, 3).reshape(rows, length, heads * size)


def check_length(tokens: Int[Array, "rows length"], limit: int) -> None:
    """Raises ValueError when rows are longer than an encoder's max_length."""
    if tokens.shape[1] > limit:
        raise ValueError(
            f"rows of {tokens.shape[1]} tokens, but the encoder has max_length {limit}:"
            f" set max_length to at least {tokens.shape[1]}, or shorten the texts"
        )


class SelfAttention(nnx.Module):
    """Multi-head attention within each text of a row."""

    def __init__(self, config: EncoderConfig, rngs: nnx.Rngs):
        self.config = config
        self.query = _linear(config, config.hidden_size, config.hidden_size, rngs)
        self.key = _linear(config, config.hidden_size, config.hidden_size, rngs)
        self.value = _linear(config, config.hidden_size, config.hidden_size, rngs)
        self.output = _linear(config, config.hidden_size, config.hidden_size, rngs)

    def __call__(
        self, hidden: Float[Array, "rows length hidden"], mask: Bool[Array, "rows 1 length length"], key: DropoutKey
    ) -> Float[Array, "rows length hidden"]:
        parts = (layer(hidden) for layer in (self.query, self.key, self.value))
        query, keys, value = (split_heads(part, self.config.num_heads) for part in parts)
        return self.output(attend(query, keys, value, mask, self.config.attention_dropout, key))


class EncoderLayer(nnx.Module):
    """Attention and feed-forward, each followed by dropout, the residual sum and LayerNorm (post-LN)."""

    def __init__(self, config: EncoderConfig, rngs: nnx.Rngs):
        self.config = config
        self.attention = SelfAttention(config, rngs)
        self.attention_norm = _norm(config, rngs)
        self.intermediate = _linear(config, config.hidden_size, config.intermediate_size, rngs)
        self.output = _linear(config, config.intermediate_size, config.hidden_size, rngs)
        self.output_norm = _norm(config, rngs)

    def __call__(
        self, hidden: Float[Array, "rows length hidden"], mask: Bool[Array, "rows 1 length length"], key: DropoutKey
    ) -> Float[Array, "rows length hidden"]:
        rate = self.config.dropout
        attended = dropout(self.attention(hidden, mask, fold(key, 0)), rate, fold(key, 1))
        hidden = self.attention_norm(hidden + attended).astype(hidden.dtype)
        expanded = ACTIVATIONS[self.config.activation](self.intermediate(hidden))
        return self.output_norm(hidden + dropout(self.output(expanded), rate, fold(key, 2))).astype(hidden.dtype)


class Encoder(nnx.Module):
    """Token ids -> one vector per token, each text of a row on its own.

    A row may hold several texts, one after the other ("packing"): tokens see only their own text and positions start
    again with each, so that a text's vectors are the same wherever it stands.
    """

    def __init__(self, config: EncoderConfig, rngs: nnx.Rngs):
        self.config = config
        self.embeddings = Embeddings(config, rngs)
        self.layers = nnx.List([EncoderLayer(config, rngs) for _ in range(config.num_layers)])

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
        mask = segments[:, None, :, None] == segments[:, None, None, :]
        hidden = self.embeddings(tokens, segments, fold(dropout_key, 0))
        for number, layer in enumerate(self.layers, start=1):
            apply = jax.checkpoint(EncoderLayer.__call__) if self.config.remat else EncoderLayer.__call__
            hidden = apply(layer, hidden, mask, fold(dropout_key, number))
        return hidden
