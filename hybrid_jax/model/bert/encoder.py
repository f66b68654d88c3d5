"""The BERT encoder, which RoBERTa and XLM-R share: token ids -> one vector per token.

A post-LayerNorm transformer as in Devlin et al. 2018 (arXiv 1810.04805). Its parameter names follow Hugging Face's BERT
without the wrappers; the table of both names is in `hugging_face.py`.
"""

from typing import Literal

import jax
from flax import nnx
from jaxtyping import Array, Float, Int
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hybrid_jax.model import kernels
from hybrid_jax.model.activations import ACTIVATIONS, Activation
from hybrid_jax.model.attention import check_fused
from hybrid_jax.model.dropout import Noise, dropout, fold
from hybrid_jax.model.layers import LayerNorm, Linear, attend, layer_norm, linear, split_heads
from hybrid_jax.model.precision import Dtype, compute_dtype
from hybrid_jax.model.segments import positions, positions_between_padding_tokens


class BertConfig(BaseModel):
    """Sizes and conventions of a BERT, RoBERTa or XLM-R encoder.

    BERT has position_offset 0, type_vocab_size 2 and layer_norm_eps 1e-12. RoBERTa and XLM-R have position_offset 2
    (their padding id + 1), type_vocab_size 1 and layer_norm_eps 1e-5.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Literal["bert"] = "bert"
    """The model family. BERT, RoBERTa and XLM-R are one family."""
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
    """Added to every position, counted from 0: 0 for BERT, 2 for RoBERTa and XLM-R. Above 0 it is the padding id + 1,
    as in RoBERTa, and tokens with the padding id are not counted, not even inside a text."""
    type_vocab_size: int = Field(default=1, ge=1)
    """Rows of the token-type embedding: 2 for BERT, 1 for RoBERTa and XLM-R. Only row 0 is used."""
    layer_norm_eps: float = Field(default=1e-12, gt=0)
    """Added to the variance in LayerNorm: 1e-12 for BERT, 1e-5 for RoBERTa and XLM-R."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of hidden values dropped after the embeddings, attention and feed-forward, in training."""
    attention_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of attention weights dropped, in training."""
    fused_attention: bool = False
    """Let cuDNN (NVIDIA's GPUs since Ampere) or splash attention (TPU) compute attention, without storing its
    weights: for long texts. Takes bfloat16 and attention_dropout 0, and changes nothing on other devices. Tested by
    tracing and interpreting; not yet run on a GPU or TPU."""
    dtype: Dtype = "auto"
    """Precision of the matrix products and of the values between layers, residual sums included. Parameters, the sums
    inside a product, and the arithmetic of LayerNorm and softmax are float32 either way. auto: a run takes bfloat16 if
    its devices are faster in it, and its config.yaml says which; a published model takes float32."""
    remat: bool = False
    """Recompute each layer in the backward pass instead of storing its values: less memory, about 1.3x the time."""

    @model_validator(mode="after")
    def _can_be_fused(self) -> "BertConfig":
        check_fused(self.fused_attention, self.dtype, self.attention_dropout)
        return self

    @model_validator(mode="after")
    def _heads_divide(self) -> "BertConfig":
        if self.hidden_size % self.num_heads:
            raise ValueError(f"num_heads {self.num_heads} does not divide hidden_size {self.hidden_size}")
        return self


_NORMAL = nnx.initializers.normal(0.02)


def _linear(config: BertConfig, inputs: int, outputs: int, rngs: nnx.Rngs) -> Linear:
    return linear(inputs, outputs, dtype=config.dtype, init=_NORMAL, rngs=rngs)


def _norm(config: BertConfig, rngs: nnx.Rngs) -> LayerNorm:
    return layer_norm(config.hidden_size, config.layer_norm_eps, rngs)


class BertEmbeddings(nnx.Module):
    """The sum of word, position and token-type embeddings, normalized: the first layer's input."""

    def __init__(self, config: BertConfig, rngs: nnx.Rngs):
        def table(rows: int) -> nnx.Embed:
            return nnx.Embed(rows, config.hidden_size, embedding_init=_NORMAL, rngs=rngs)

        self.config = config
        self.word = table(config.vocab_size)
        self.position = table(config.max_length + config.position_offset)
        self.token_type = table(config.type_vocab_size)
        self.norm = _norm(config, rngs)

    def __call__(
        self, tokens: Int[Array, "rows length"], segments: Int[Array, "rows length"], noise: Noise | None
    ) -> Float[Array, "rows length hidden"]:
        offset = self.config.position_offset
        if offset > 0:
            position = positions_between_padding_tokens(tokens, segments, padding_id=offset - 1)
        else:
            position = positions(segments)
        summed = self.word(tokens) + self.position(position + offset) + self.token_type.embedding[0]
        return dropout(self.norm(summed).astype(compute_dtype(self.config.dtype)), self.config.dropout, noise)


class SelfAttention(nnx.Module):
    """Multi-head attention within each text of a row: to every token of the text, itself included."""

    def __init__(self, config: BertConfig, rngs: nnx.Rngs):
        self.config = config
        self.query = _linear(config, config.hidden_size, config.hidden_size, rngs)
        self.key = _linear(config, config.hidden_size, config.hidden_size, rngs)
        self.value = _linear(config, config.hidden_size, config.hidden_size, rngs)
        self.output = _linear(config, config.hidden_size, config.hidden_size, rngs)

    def __call__(
        self,
        hidden: Float[Array, "rows length hidden"],
        segments: Int[Array, "rows length"],
        noise: Noise | None,
    ) -> Float[Array, "rows length hidden"]:
        config = self.config
        parts = (layer(hidden) for layer in (self.query, self.key, self.value))
        query, key, value = (split_heads(part, config.num_heads) for part in parts)
        rate, fused = config.attention_dropout, config.fused_attention
        return self.output(attend(query, key, value, segments, None, rate, noise, fused))


class BertLayer(nnx.Module):
    """Attention, then feed-forward; each is followed by dropout, the residual sum and LayerNorm (post-LN)."""

    def __init__(self, config: BertConfig, rngs: nnx.Rngs):
        self.config = config
        self.attention = SelfAttention(config, rngs)
        self.attention_norm = _norm(config, rngs)
        self.intermediate = _linear(config, config.hidden_size, config.intermediate_size, rngs)
        self.output = _linear(config, config.intermediate_size, config.hidden_size, rngs)
        self.output_norm = _norm(config, rngs)

    def __call__(
        self,
        hidden: Float[Array, "rows length hidden"],
        segments: Int[Array, "rows length"],
        noise: Noise | None,
    ) -> Float[Array, "rows length hidden"]:
        rate = self.config.dropout
        attended = dropout(self.attention(hidden, segments, fold(noise, 0)), rate, fold(noise, 1))
        hidden = self.attention_norm(hidden + attended).astype(hidden.dtype)
        expanded = kernels.activate(ACTIVATIONS[self.config.activation], self.intermediate(hidden))
        output = dropout(self.output(expanded), rate, fold(noise, 2))
        return self.output_norm(hidden + output).astype(hidden.dtype)


class Bert(nnx.Module):
    """Token ids -> one vector per token.

    A row may hold several texts, one after the other ("packing"). Tokens attend only within their own text, and
    positions restart with each text, so a text's vectors do not depend on what else is in its row.
    """

    def __init__(self, config: BertConfig, rngs: nnx.Rngs):
        self.config = config
        self.embeddings = BertEmbeddings(config, rngs)
        self.layers = nnx.List([BertLayer(config, rngs) for _ in range(config.num_layers)])

    def __call__(
        self,
        tokens: Int[Array, "rows length"],
        segments: Int[Array, "rows length"],
        noise: Noise | None = None,
    ) -> Float[Array, "rows length hidden"]:
        """The last layer's hidden states.

        `segments` is 0 for padding and 1, 2, ... for the tokens of a row's first, second, ... text. A row may be
        longer than `max_length`, but none of its texts: the caller must see to that, as a longer text makes its row
        NaN. So does a token id outside the vocabulary.
        """
        hidden = self.embeddings(tokens, segments, fold(noise, 0))
        for number, layer in enumerate(self.layers, start=1):
            apply = jax.checkpoint(BertLayer.__call__) if self.config.remat else BertLayer.__call__
            hidden = apply(layer, hidden, segments, fold(noise, number))
        return hidden
