"""The dual encoder: token ids of queries and passages -> unit vectors whose dot product is their score.

Parameters are kept outside the model, as a nested dict of float32 arrays (`Parameters`), so the optimizer, the
checkpoint and the mesh need no Flax. `abstract` returns the model's code and the shapes of its parameters without
computing anything, `initialize` draws parameters, and `bind` combines code and parameters:

    code, shapes = abstract(config)
    model = bind(code, initialize(config, seed=0))
    vectors = model.encode_queries(tokens, segments)
"""

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hybrid_jax.model.activations import ACTIVATIONS, Activation
from hybrid_jax.model.dropout import Noise
from hybrid_jax.model.families import DEFAULT, EncoderConfig, family_of

MIN_TEMPERATURE = 0.01
"""A learned temperature stays above this (CLIP's limit, arXiv 2103.00020): below it, single pairs dominate the loss."""

Parameters = dict[str, Any]
"""A nested dict of arrays, e.g. ["tower"]["encoder"]["layers"][0]["output"]["kernel"]."""

Side = Literal["queries", "passages"]


class ModelConfig(BaseModel):
    """The dual encoder: the transformer, and how the vectors of a text's tokens become one vector."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: EncoderConfig = DEFAULT
    """The transformer; each of the two when untied."""
    tied: bool = True
    """One tower for queries and passages. When false: two towers of the same shape with their own parameters."""
    pooling: Literal["mean", "cls"] = "mean"
    """A text's vector: the mean of its tokens' vectors, or its first token's."""
    projection_dim: int | None = Field(default=None, ge=1)
    """Outputs of a linear layer after pooling, hence the size of the vectors. None: no such layer, and hidden_size."""
    projection_activation: Activation = "identity"
    """Applied after the projection: tanh for BERT's pooler and LaBSE (pooling cls, projection_dim 768)."""
    projection_bias: bool = True
    """Whether the projection adds a bias."""
    temperature: float = Field(default=0.05, ge=MIN_TEMPERATURE)
    """Scores are divided by it in the loss. With learn_temperature, its first value."""
    learn_temperature: bool = False
    """Train the temperature with the other parameters; it stays above 0.01."""

    @property
    def dim(self) -> int:
        """Dimensions of a text's vector."""
        return self.projection_dim or self.encoder.hidden_size

    @model_validator(mode="after")
    def _consistent(self) -> "ModelConfig":
        if self.projection_activation != "identity" and self.projection_dim is None:
            raise ValueError(
                f"projection_activation is {self.projection_activation} but there is no projection: set projection_dim"
            )
        if self.learn_temperature and self.temperature <= MIN_TEMPERATURE:
            raise ValueError(f"temperature {self.temperature} cannot be learned: start above {MIN_TEMPERATURE}")
        return self


def pool(
    hidden: Float[Array, "rows length hidden"],
    segments: Int[Array, "rows length"],
    method: Literal["mean", "cls"],
    texts_per_row: int,
) -> Float[Array, "rows texts hidden"]:
    """One float32 vector per text: the mean of its tokens ("mean") or its first token ("cls").

    Vector [row, n] is that of segment n + 1, and zero when the row has no such segment.
    """
    number = jnp.arange(1, texts_per_row + 1)
    member = segments[:, None, :] == number[:, None]
    if method == "cls":
        weights = (member & (jnp.cumsum(member, axis=-1) == 1)).astype(jnp.float32)
    else:
        weights = member / jnp.maximum(member.sum(axis=-1, keepdims=True), 1)
    return jnp.einsum("rtl,rlh->rth", weights, hidden.astype(jnp.float32), precision="highest")


def unit(vectors: Float[Array, "*shape dim"]) -> Float[Array, "*shape dim"]:
    """`vectors` scaled to length 1, in float32. A zero vector stays zero and has a finite gradient."""
    vectors = vectors.astype(jnp.float32)
    return vectors * jax.lax.rsqrt(jnp.maximum(jnp.sum(vectors**2, axis=-1, keepdims=True), 1e-24))


class Tower(nnx.Module):
    """Encoder, pooling, optional projection, L2 normalization."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        self.config = config
        self.encoder = family_of(config.encoder).module_class(config.encoder, rngs)
        if config.projection_dim is not None:
            init = nnx.initializers.normal(0.02)
            self.projection = nnx.Linear(
                config.encoder.hidden_size,
                config.projection_dim,
                use_bias=config.projection_bias,
                kernel_init=init,
                precision="highest",
                rngs=rngs,
            )

    def __call__(
        self,
        tokens: Int[Array, "rows length"],
        segments: Int[Array, "rows length"],
        texts_per_row: int,
        noise: Noise | None,
    ) -> Float[Array, "rows texts dim"]:
        vectors = pool(self.encoder(tokens, segments, noise), segments, self.config.pooling, texts_per_row)
        if self.config.projection_dim is not None:
            vectors = ACTIVATIONS[self.config.projection_activation](self.projection(vectors))
        return unit(vectors)


class DualEncoder(nnx.Module):
    """Queries and passages -> float32 unit vectors.

    `tokens` and `segments` are int[rows, length]. `segments` is 0 for padding and 1 for the text of a row, or 1, 2, ...
    when several texts are packed in a row. Without `noise` there is no dropout.
    """

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        self.config = config
        if config.tied:
            self.tower = Tower(config, rngs)
        else:
            self.query_tower = Tower(config, rngs)
            self.passage_tower = Tower(config, rngs)
        if config.learn_temperature:
            # The parameter is the logarithm of the distance to the floor. The temperature cannot cross the floor, and
            # its gradient does not vanish there, as it would if the temperature were clamped.
            start = math.log(config.temperature - MIN_TEMPERATURE)
            self.log_temperature_above_floor = nnx.Param(jnp.asarray(start, jnp.float32))

    @property
    def temperature(self) -> Float[Array, ""]:
        """The scalar that scores are divided by in the loss."""
        if self.config.learn_temperature:
            return MIN_TEMPERATURE + jnp.exp(self.log_temperature_above_floor[...])
        return jnp.asarray(self.config.temperature, jnp.float32)

    def encode_queries(
        self, tokens: Int[Array, "rows length"], segments: Int[Array, "rows length"]
    ) -> Float[Array, "rows dim"]:
        """One vector per row, for rows of one query. Raises ValueError for rows longer than `max_length`."""
        return self._encode_alone("queries", tokens, segments)

    def encode_passages(
        self, tokens: Int[Array, "rows length"], segments: Int[Array, "rows length"]
    ) -> Float[Array, "rows dim"]:
        """One vector per row, for rows of one passage. Raises ValueError for rows longer than `max_length`."""
        return self._encode_alone("passages", tokens, segments)

    def _encode_alone(
        self, side: Side, tokens: Int[Array, "rows length"], segments: Int[Array, "rows length"]
    ) -> Float[Array, "rows dim"]:
        length, longest = tokens.shape[1], self.config.encoder.max_length
        if length > longest:
            raise ValueError(
                f"rows of {length} tokens, but the encoder has max_length {longest}: set max_length to at least"
                f" {length}, or shorten the texts"
            )
        return self.encode_packed(side, tokens, segments, 1)[:, 0]

    def encode_packed(
        self,
        side: Side,
        tokens: Int[Array, "rows length"],
        segments: Int[Array, "rows length"],
        texts_per_row: int,
        noise: Noise | None = None,
    ) -> Float[Array, "rows texts dim"]:
        """Vectors of up to `texts_per_row` texts per row: [row, n] is that of segment n + 1, or zero without it.

        With tied towers the two sides are the same, and a row may hold queries and passages. A row may be longer than
        `max_length`, but none of its texts.
        """
        if self.config.tied:
            tower = self.tower
        else:
            tower = self.query_tower if side == "queries" else self.passage_tower
        return tower(tokens, segments, texts_per_row, noise)


def abstract(config: ModelConfig) -> tuple[nnx.GraphDef[DualEncoder], Parameters]:
    """The model's code, and the shapes of its parameters as `jax.ShapeDtypeStruct`s. Computes nothing."""
    code, shapes = nnx.split(nnx.eval_shape(lambda: DualEncoder(config, nnx.Rngs(0))))
    return code, nnx.to_pure_dict(shapes)


def initialize(config: ModelConfig, seed: int | Int[Array, ""]) -> Parameters:
    """Random parameters: weights as the encoder's family draws them, biases 0, LayerNorm scales 1. Can be jitted."""
    return nnx.to_pure_dict(nnx.state(DualEncoder(config, nnx.Rngs(jax.random.key(seed)))))


def bind(code: nnx.GraphDef[DualEncoder], parameters: Parameters) -> DualEncoder:
    """The model with these parameters. Cheap; works inside jit and grad."""
    return nnx.merge(code, parameters)
