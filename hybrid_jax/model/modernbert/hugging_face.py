"""ModernBERT as transformers saves it: config.json in both directions, and the names of the tensors."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from hybrid_jax.model.family import Row
from hybrid_jax.model.hugging_face import (
    TransformerFields,
    activation_from_hugging_face,
    activation_to_hugging_face,
    read_fields,
    sizes_to_hugging_face,
)
from hybrid_jax.model.keys import Key, irrelevant, obeyed, refused
from hybrid_jax.model.modernbert.encoder import ModernBertConfig

LayerType = Literal["full_attention", "sliding_attention"]

TENSOR_NAMES: Sequence[Row] = (
    ("embeddings.tok_embeddings.weight", "embeddings.word.embedding"),
    ("embeddings.norm.weight", "embeddings.norm.scale"),
    ("embeddings.norm.bias", "embeddings.norm.bias"),
    ("layers.{n}.attn_norm.weight", "layers.{n}.attn_norm.scale"),
    ("layers.{n}.attn_norm.bias", "layers.{n}.attn_norm.bias"),
    ("layers.{n}.attn.Wqkv.weight", "layers.{n}.attention.qkv.kernel"),
    ("layers.{n}.attn.Wqkv.bias", "layers.{n}.attention.qkv.bias"),
    ("layers.{n}.attn.Wo.weight", "layers.{n}.attention.output.kernel"),
    ("layers.{n}.attn.Wo.bias", "layers.{n}.attention.output.bias"),
    ("layers.{n}.mlp_norm.weight", "layers.{n}.mlp_norm.scale"),
    ("layers.{n}.mlp_norm.bias", "layers.{n}.mlp_norm.bias"),
    ("layers.{n}.mlp.Wi.weight", "layers.{n}.mlp.input.kernel"),
    ("layers.{n}.mlp.Wi.bias", "layers.{n}.mlp.input.bias"),
    ("layers.{n}.mlp.Wo.weight", "layers.{n}.mlp.output.kernel"),
    ("layers.{n}.mlp.Wo.bias", "layers.{n}.mlp.output.bias"),
    ("final_norm.weight", "final_norm.scale"),
    ("final_norm.bias", "final_norm.bias"),
)

IGNORED = (r"(head|decoder)\..*",)  # the heads of masked language modelling


CONFIG_KEYS: tuple[Key, ...] = (
    *obeyed("added to the variance in LayerNorm", "norm_eps"),
    *obeyed("which layers have biases", "norm_bias", "attention_bias", "mlp_bias"),
    *obeyed("the activation, one of those we have", "hidden_activation"),
    *obeyed("dropout, in training", "embedding_dropout", "attention_dropout", "mlp_dropout"),
    *obeyed("which layers are local, and their window", "layer_types", "global_attn_every_n_layers"),
    *obeyed("which layers are local, and their window", "local_attention", "sliding_window"),
    *obeyed("rotary positions; any but the default kind, or of a part of a vector, are refused", "rope_parameters"),
    *obeyed("older names for parts of rope_parameters", "global_rope_theta", "local_rope_theta", "rope_scaling"),
    *refused("rotary positions of another kind", "rope_theta", "partial_rotary_factor", "head_dim"),
    *irrelevant("rotary positions, whatever it says: transformers does not read it", "position_embedding_type"),
    *irrelevant("padding's vector, which nothing reads", "pad_token_id"),
    *irrelevant("initial weights, which the file's replace", "initializer_cutoff_factor"),
    *irrelevant("heads, which are left out", "decoder_bias", "classifier_pooling", "classifier_bias"),
    *irrelevant("heads, which are left out", "classifier_activation", "sparse_prediction", "sparse_pred_ignore_index"),
    *irrelevant(
        "how PyTorch computes the same function",
        *("deterministic_flash_attn", "reference_compile", "repad_logits_with_grad", "unpad_no_grad"),
    ),
    *irrelevant("LayerNorm's older name for norm_eps, which transformers does not read", "layer_norm_eps"),
)


class RopeFields(BaseModel):
    """The rotary positions of one layer type."""

    model_config = ConfigDict(extra="forbid")

    rope_type: Literal["default"] = "default"
    rope_theta: float


class Fields(TransformerFields):
    """The fields of config.json that decide what the encoder computes."""

    norm_eps: float
    norm_bias: bool
    hidden_activation: str
    attention_bias: bool
    mlp_bias: bool
    embedding_dropout: float
    attention_dropout: float
    mlp_dropout: float
    local_attention: Annotated[int, Field(ge=1, le=2**20)]
    layer_types: list[LayerType]
    rope_parameters: dict[LayerType, RopeFields]


def from_hugging_face(content: Mapping[str, Any]) -> ModernBertConfig:
    """See `Family.from_hugging_face`."""
    fields = read_fields(Fields, content)
    return ModernBertConfig(
        vocab_size=fields.vocab_size,
        hidden_size=fields.hidden_size,
        num_layers=fields.num_hidden_layers,
        num_heads=fields.num_attention_heads,
        intermediate_size=fields.intermediate_size,
        max_length=fields.max_position_embeddings,
        global_layers=_global_layers(fields.layer_types),
        local_attention=fields.local_attention,
        global_rope_theta=fields.rope_parameters["full_attention"].rope_theta,
        local_rope_theta=fields.rope_parameters["sliding_attention"].rope_theta,
        activation=activation_from_hugging_face(fields.hidden_activation),
        norm_eps=fields.norm_eps,
        norm_bias=fields.norm_bias,
        attention_bias=fields.attention_bias,
        mlp_bias=fields.mlp_bias,
        embedding_dropout=fields.embedding_dropout,
        attention_dropout=fields.attention_dropout,
        mlp_dropout=fields.mlp_dropout,
    )


def to_hugging_face(config: ModernBertConfig, special_ids: Mapping[str, int | None]) -> dict[str, Any]:
    """See `Family.to_hugging_face`. Raises HuggingFaceError for an activation that transformers has no name for."""
    layer_types: dict[str, LayerType] = {"global": "full_attention", "local": "sliding_attention"}
    thetas = {"global": config.global_rope_theta, "local": config.local_rope_theta}
    step = _even_step(config)
    return {
        "architectures": ["ModernBertModel"],
        "model_type": "modernbert",
        "hidden_activation": activation_to_hugging_face(config.activation),
        "max_position_embeddings": config.max_length,
        "norm_eps": config.norm_eps,
        "norm_bias": config.norm_bias,
        "attention_bias": config.attention_bias,
        "mlp_bias": config.mlp_bias,
        "embedding_dropout": config.embedding_dropout,
        "attention_dropout": config.attention_dropout,
        "mlp_dropout": config.mlp_dropout,
        "local_attention": config.local_attention,
        "initializer_range": 0.02,
        "layer_types": [layer_types[kind] for kind in config.kinds],
        "rope_parameters": {
            layer_types[kind]: {"rope_type": "default", "rope_theta": theta} for kind, theta in thetas.items()
        },
        # transformers 4 reads these instead of the two above. It has evenly spaced global layers only, and takes every
        # third where no step is given: `export/elsewhere.py` says so.
        "global_rope_theta": config.global_rope_theta,
        "local_rope_theta": config.local_rope_theta,
        **({} if step is None else {"global_attn_every_n_layers": step}),
        **sizes_to_hugging_face(config),
        **special_ids,
    }


def _global_layers(layer_types: Sequence[LayerType]) -> int | tuple[int, ...]:
    """`global_layers` of our config: a step where the layers are evenly spaced, as in every published model."""
    numbers = tuple(n for n, layer_type in enumerate(layer_types) if layer_type == "full_attention")
    step = numbers[1] if len(numbers) > 1 else len(layer_types)
    return step if numbers == tuple(range(0, len(layer_types), step)) else numbers


def _even_step(config: ModernBertConfig) -> int | None:
    """The step between evenly spaced global layers, or None when they are not evenly spaced."""
    for step in range(1, config.num_layers + 1):
        if all((kind == "global") == (number % step == 0) for number, kind in enumerate(config.kinds)):
            return step
    return None
