"""Our model in the words of transformers and sentence-transformers: what their configuration files say of it.

Knows: the fields of both formats; the inverse of `model/folders.py`. Does not know: tensors, tokenizers, where the
files go. What a format cannot say is refused.
"""

from collections.abc import Mapping
from typing import Any, Literal

from hybrid_jax.embed.encoder import TextRules
from hybrid_jax.model.activations import HUGGING_FACE, TORCH, Activation
from hybrid_jax.model.bert.encoder import BertConfig
from hybrid_jax.model.dual_encoder import ModelConfig
from hybrid_jax.model.modernbert.encoder import ModernBertConfig

Format = Literal["sentence-transformers", "hf"]
"""What to write: a folder that says how texts become vectors, or the transformer alone."""
Precision = Literal["float32", "float16", "bfloat16"]
"""Of the saved numbers."""
Side = Literal["query", "passage"]
"""Which of the two towers, where there are two."""

POOLING_FOLDER, DENSE_FOLDER = "1_Pooling", "2_Dense"


class ExportError(ValueError):
    """A model that cannot be written in the asked form. The message says why and what to do."""


def transformer_config(
    config: BertConfig | ModernBertConfig, special: Mapping[str, int | None], dtype: Precision
) -> dict[str, Any]:
    """The content of config.json. `special` has the tokenizer's "pad_token_id", "bos_token_id" and so on.

    Raises ExportError for an activation that transformers has no name for, and for positions that its RoBERTa would
    count otherwise.
    """
    family = _modernbert(config) if isinstance(config, ModernBertConfig) else _bert(config, special["pad_token_id"])
    sizes = {
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "intermediate_size": config.intermediate_size,
    }
    return {**family, **sizes, **special, "dtype": dtype}


def tokenizer_inputs(config: BertConfig | ModernBertConfig) -> list[str]:
    """What the tokenizer must give to the transformer: of our families, BERT alone takes token types."""
    bert = isinstance(config, BertConfig) and config.position_offset == 0
    return ["input_ids", *(["token_type_ids"] if bert else []), "attention_mask"]


def _bert(config: BertConfig, pad_id: int | None) -> dict[str, Any]:
    roberta = config.position_offset > 0
    if roberta and pad_id != config.position_offset - 1:
        raise ExportError(
            f"position_offset {config.position_offset} cannot be exported: transformers numbers positions from the "
            f"padding id + 1, and the tokenizer's padding id is {pad_id}: train with position_offset 0 or "
            f"{(pad_id or 0) + 1}"
        )
    return {
        "architectures": ["XLMRobertaModel" if roberta else "BertModel"],
        "model_type": "xlm-roberta" if roberta else "bert",
        "hidden_act": _named(config.activation),
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.attention_dropout,
        "max_position_embeddings": config.max_length + config.position_offset,
        "type_vocab_size": config.type_vocab_size,
        "layer_norm_eps": config.layer_norm_eps,
        "initializer_range": 0.02,
    }


def _modernbert(config: ModernBertConfig) -> dict[str, Any]:
    kinds = {"global": "full_attention", "local": "sliding_attention"}
    rope = {"global": config.global_rope_theta, "local": config.local_rope_theta}
    found = {
        "architectures": ["ModernBertModel"],
        "model_type": "modernbert",
        "hidden_activation": _named(config.activation),
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
        "layer_types": [kinds[kind] for kind in config.kinds],
        "rope_parameters": {kinds[kind]: {"rope_type": "default", "rope_theta": rope[kind]} for kind in kinds},
        # The same in the words of transformers 4, which knows evenly spaced global layers only.
        "global_rope_theta": config.global_rope_theta,
        "local_rope_theta": config.local_rope_theta,
    }
    for every in range(1, config.num_layers + 1):
        if all((kind == "global") == (number % every == 0) for number, kind in enumerate(config.kinds)):
            return {**found, "global_attn_every_n_layers": every}
    return found


def _named(activation: Activation) -> str:
    for name, ours in HUGGING_FACE.items():
        if ours == activation:
            return name
    raise ExportError(
        f"activation {activation!r} of the encoder cannot be exported: transformers' names are known for "
        f"{', '.join(dict.fromkeys(HUGGING_FACE.values()))}"
    )


def sentence_transformers_files(
    model: ModelConfig, prompts: Mapping[str, str], max_length: int
) -> dict[str, dict[str, Any] | list[dict[str, Any]]]:
    """The JSON files by their paths that make a transformers folder one of sentence-transformers.

    Class names and keys are the old ones, which sentence-transformers 5 and 6 read. No versions are named: none of
    theirs wrote this folder. Raises ExportError for a projection that their Dense module cannot hold.
    """
    kinds = {"": "Transformer", POOLING_FOLDER: "Pooling"}
    if model.projection_dim is not None:
        kinds[DENSE_FOLDER] = "Dense"
    kinds[f"{len(kinds)}_Normalize"] = "Normalize"
    files: dict[str, dict[str, Any] | list[dict[str, Any]]] = {
        "modules.json": [
            {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for number, (path, kind) in enumerate(kinds.items())
        ],
        "sentence_bert_config.json": {"max_seq_length": max_length, "do_lower_case": False, **_without_pooler(model)},
        "config_sentence_transformers.json": {
            "model_type": "SentenceTransformer",
            "prompts": dict(prompts),
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
        f"{POOLING_FOLDER}/config.json": {
            "word_embedding_dimension": model.encoder.hidden_size,
            "pooling_mode_cls_token": model.pooling == "cls",
            "pooling_mode_mean_tokens": model.pooling == "mean",
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
            "pooling_mode_weightedmean_tokens": False,
            "pooling_mode_lasttoken": False,
            "include_prompt": True,
        },
    }
    if model.projection_dim is not None:
        files[f"{DENSE_FOLDER}/config.json"] = {
            "in_features": model.encoder.hidden_size,
            "out_features": model.projection_dim,
            "bias": model.projection_bias,
            "activation_function": _torch_class(model.projection_activation),
        }
    return files


def _without_pooler(model: ModelConfig) -> dict[str, Any]:
    """Keeps transformers from making up BERT's pooler, which the file does not have, and from warning of it."""
    bert = isinstance(model.encoder, BertConfig)
    return {"model_args": {"add_pooling_layer": False}} if bert else {}


def _torch_class(activation: Activation) -> str:
    for name, ours in TORCH.items():
        if ours == activation:
            return f"torch.nn.modules.{'linear' if name == 'Identity' else 'activation'}.{name}"
    raise ExportError(
        f"projection_activation {activation!r} cannot be exported: sentence-transformers' Dense makes its activation "
        f"without arguments, which gives {', '.join(TORCH.values())}"
    )


def prompts(rules: TextRules, sides: tuple[Side, ...]) -> dict[str, str]:
    """Prompts by the names that sentence-transformers gives them: `encode_document` and mteb ask for "document" first,
    older code for "passage"."""
    both = {"query": rules.query_prompt, "document": rules.passage_prompt, "passage": rules.passage_prompt}
    return {name: text for name, text in both.items() if ("query" if name == "query" else "passage") in sides}


def longest(rules: TextRules, sides: tuple[Side, ...]) -> int:
    """The one limit in tokens that a folder can state: the larger one of its sides."""
    limits = {"query": rules.max_query_length, "passage": rules.max_passage_length}
    return max(limits[side] for side in sides)


def is_pooler(model: ModelConfig) -> bool:
    """Whether the projection is what transformers' BERT computes as its pooler output."""
    return (
        isinstance(model.encoder, BertConfig)
        and (model.pooling, model.projection_activation, model.projection_bias) == ("cls", "tanh", True)
        and model.projection_dim == model.encoder.hidden_size
    )


def plain_pooling(model: ModelConfig) -> Literal["mean", "cls", "pooler"]:
    """What a reader of the plain transformers folder must be told. Raises ExportError when telling is not enough."""
    if model.projection_dim is None:
        return model.pooling
    if is_pooler(model):
        return "pooler"
    raise ExportError(
        f"the projection to {model.projection_dim} ({model.pooling} pooling, {model.projection_activation}) has no "
        f"place in a plain transformers folder: use --format sentence-transformers"
    )
