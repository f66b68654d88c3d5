"""BERT, RoBERTa and XLM-R as transformers saves them: config.json in both directions, and the names of the tensors."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from hybrid_jax.model.bert.encoder import BertConfig
from hybrid_jax.model.family import Row
from hybrid_jax.model.hugging_face import (
    HuggingFaceError,
    Size,
    TransformerFields,
    activation_from_hugging_face,
    activation_to_hugging_face,
    read_fields,
    sizes_to_hugging_face,
)
from hybrid_jax.model.keys import Key, irrelevant, obeyed, refused

MODEL_TYPES = {"bert": "BERT", "roberta": "RoBERTa", "xlm-roberta": "XLM-R"}

TENSOR_NAMES: Sequence[Row] = (
    ("embeddings.word_embeddings.weight", "embeddings.word.embedding"),
    ("embeddings.position_embeddings.weight", "embeddings.position.embedding"),
    ("embeddings.token_type_embeddings.weight", "embeddings.token_type.embedding"),
    ("embeddings.LayerNorm.weight", "embeddings.norm.scale"),
    ("embeddings.LayerNorm.bias", "embeddings.norm.bias"),
    ("encoder.layer.{n}.attention.self.query.weight", "layers.{n}.attention.query.kernel"),
    ("encoder.layer.{n}.attention.self.query.bias", "layers.{n}.attention.query.bias"),
    ("encoder.layer.{n}.attention.self.key.weight", "layers.{n}.attention.key.kernel"),
    ("encoder.layer.{n}.attention.self.key.bias", "layers.{n}.attention.key.bias"),
    ("encoder.layer.{n}.attention.self.value.weight", "layers.{n}.attention.value.kernel"),
    ("encoder.layer.{n}.attention.self.value.bias", "layers.{n}.attention.value.bias"),
    ("encoder.layer.{n}.attention.output.dense.weight", "layers.{n}.attention.output.kernel"),
    ("encoder.layer.{n}.attention.output.dense.bias", "layers.{n}.attention.output.bias"),
    ("encoder.layer.{n}.attention.output.LayerNorm.weight", "layers.{n}.attention_norm.scale"),
    ("encoder.layer.{n}.attention.output.LayerNorm.bias", "layers.{n}.attention_norm.bias"),
    ("encoder.layer.{n}.intermediate.dense.weight", "layers.{n}.intermediate.kernel"),
    ("encoder.layer.{n}.intermediate.dense.bias", "layers.{n}.intermediate.bias"),
    ("encoder.layer.{n}.output.dense.weight", "layers.{n}.output.kernel"),
    ("encoder.layer.{n}.output.dense.bias", "layers.{n}.output.bias"),
    ("encoder.layer.{n}.output.LayerNorm.weight", "layers.{n}.output_norm.scale"),
    ("encoder.layer.{n}.output.LayerNorm.bias", "layers.{n}.output_norm.bias"),
    # Files converted from TensorFlow use these names instead.
    ("embeddings.LayerNorm.gamma", "embeddings.norm.scale"),
    ("embeddings.LayerNorm.beta", "embeddings.norm.bias"),
    ("encoder.layer.{n}.attention.output.LayerNorm.gamma", "layers.{n}.attention_norm.scale"),
    ("encoder.layer.{n}.attention.output.LayerNorm.beta", "layers.{n}.attention_norm.bias"),
    ("encoder.layer.{n}.output.LayerNorm.gamma", "layers.{n}.output_norm.scale"),
    ("encoder.layer.{n}.output.LayerNorm.beta", "layers.{n}.output_norm.bias"),
)

POOLER: Sequence[Row] = (("pooler.dense.weight", "projection.kernel"), ("pooler.dense.bias", "projection.bias"))

PREFIXES = ("bert.", "roberta.", "model.")

IGNORED = (
    r"embeddings\.(position_ids|token_type_ids)",  # buffers that old versions saved: 0, 1, 2, …
    r"pooler\.dense\.(weight|bias)",  # unless the pooler is the projection
    r"cls\.(predictions|seq_relationship)\..*",  # BERT's pretraining heads
    r"lm_head\..*",  # RoBERTa's
)


CONFIG_KEYS: tuple[Key, ...] = (
    *obeyed("rows of the token-type embedding", "type_vocab_size"),
    *obeyed("added to the variance in LayerNorm", "layer_norm_eps"),
    *obeyed("the activation, one of those we have", "hidden_act"),
    *obeyed("dropout, in training", "hidden_dropout_prob", "attention_probs_dropout_prob"),
    *obeyed("RoBERTa and XLM-R count positions from it, and do not count it inside a text", "pad_token_id"),
    *refused("positions of another kind", "position_embedding_type", allowed=("absolute", None)),
    *refused("positions or attention of another kind", "rope_parameters", "rope_scaling", "layer_types"),
    *refused("positions or attention of another kind", "sliding_window", "rope_theta", "alibi_starting_size"),
    *irrelevant("the pooler of the original code", "pooler_fc_size", "pooler_num_attention_heads", "pooler_type"),
    *irrelevant("the pooler of the original code", "pooler_num_fc_layers", "pooler_size_per_head", "directionality"),
)


class Fields(TransformerFields):
    """The fields of config.json that decide what the encoder computes."""

    model_type: Literal["bert", "roberta", "xlm-roberta"]
    type_vocab_size: Size
    layer_norm_eps: float
    hidden_act: str
    hidden_dropout_prob: float
    attention_probs_dropout_prob: float
    pad_token_id: Annotated[int, Field(ge=0, le=2**24)] | None = 0


def from_hugging_face(content: Mapping[str, Any]) -> BertConfig:
    """See `Family.from_hugging_face`."""
    fields = read_fields(Fields, content)
    if fields.model_type != "bert" and fields.pad_token_id is None:
        raise HuggingFaceError("pad_token_id = null: positions are counted from it")
    # RoBERTa counts positions from its padding id + 1, BERT from 0.
    offset = 0 if fields.model_type == "bert" else (fields.pad_token_id or 0) + 1
    return BertConfig(
        vocab_size=fields.vocab_size,
        hidden_size=fields.hidden_size,
        num_layers=fields.num_hidden_layers,
        num_heads=fields.num_attention_heads,
        intermediate_size=fields.intermediate_size,
        activation=activation_from_hugging_face(fields.hidden_act),
        max_length=fields.max_position_embeddings - offset,
        position_offset=offset,
        type_vocab_size=fields.type_vocab_size,
        layer_norm_eps=fields.layer_norm_eps,
        dropout=fields.hidden_dropout_prob,
        attention_dropout=fields.attention_probs_dropout_prob,
    )


def to_hugging_face(config: BertConfig, special_ids: Mapping[str, int | None]) -> dict[str, Any]:
    """See `Family.to_hugging_face`. Positions that do not start at 0 are written as XLM-R.

    Raises HuggingFaceError for an activation that transformers has no name for, and for a `position_offset` that is
    neither 0 nor the padding id + 1.
    """
    is_roberta, pad_id = config.position_offset > 0, special_ids["pad_token_id"]
    if is_roberta and pad_id != config.position_offset - 1:
        raise HuggingFaceError(
            f"position_offset {config.position_offset} cannot be exported: transformers counts positions from the "
            f"padding id + 1, and the tokenizer's padding id is {pad_id}: train with position_offset 0 or "
            f"{(pad_id or 0) + 1}"
        )
    return {
        "architectures": ["XLMRobertaModel" if is_roberta else "BertModel"],
        "model_type": "xlm-roberta" if is_roberta else "bert",
        "hidden_act": activation_to_hugging_face(config.activation),
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.attention_dropout,
        "max_position_embeddings": config.max_length + config.position_offset,
        "type_vocab_size": config.type_vocab_size,
        "layer_norm_eps": config.layer_norm_eps,
        "initializer_range": 0.02,
        **sizes_to_hugging_face(config),
        **special_ids,
    }


def pools_with_pooler(config: BertConfig) -> bool:
    """True for BERT. RoBERTa and XLM-R were published with poolers that were never trained."""
    return config.position_offset == 0


def tokenizer_inputs(config: BertConfig) -> Sequence[str]:
    """BERT takes token types; RoBERTa and XLM-R do not."""
    token_types = ("token_type_ids",) if config.position_offset == 0 else ()
    return ("input_ids", *token_types, "attention_mask")
