"""What can be exported, and under which names: formats, prompts, limits, config.json, pooling."""

from collections.abc import Mapping
from typing import Any, Literal

from hybrid_jax.embed.encoder import TextRules
from hybrid_jax.model.dual_encoder import ModelConfig
from hybrid_jax.model.families import EncoderConfig, family_of
from hybrid_jax.model.hugging_face import HuggingFaceError

Format = Literal["sentence-transformers", "hf"]
"""What to write: a sentence-transformers folder, which says how it makes a text's vector, or the transformer alone."""
Precision = Literal["float32", "float16", "bfloat16"]
"""The type of the saved numbers."""
Side = Literal["query", "passage"]
"""One of the two towers of a model that is not tied."""


class ExportError(ValueError):
    """A model that cannot be written in the requested form. The message says why and what to do."""


def transformer_config(
    config: EncoderConfig, special_ids: Mapping[str, int | None], dtype: Precision
) -> dict[str, Any]:
    """The content of config.json. `special_ids` has "pad_token_id" and the others that the family's config takes.

    Raises ExportError for what transformers cannot express.
    """
    try:
        return {**family_of(config).to_hugging_face(config, special_ids), "dtype": dtype}
    except HuggingFaceError as error:
        raise ExportError(f"config.json: {error}") from None


def prompts(rules: TextRules, sides: tuple[Side, ...]) -> dict[str, str]:
    """The prompts of these sides, under the names that sentence-transformers uses: "query" and "document".

    No others: mteb ignores names that are neither a prompt type nor a task ("passage"), with a warning.
    """
    by_side: dict[Side, tuple[str, str]] = {
        "query": ("query", rules.query_prompt),
        "passage": ("document", rules.passage_prompt),
    }
    return dict(by_side[side] for side in by_side if side in sides)


def longest(rules: TextRules, sides: tuple[Side, ...]) -> int:
    """The larger of the limits of these sides, in tokens: a folder can state only one."""
    limits = {"query": rules.max_query_length, "passage": rules.max_passage_length}
    return max(limits[side] for side in sides)


def is_pooler(model: ModelConfig) -> bool:
    """Whether the projection is what transformers computes as the encoder's pooler output."""
    return (
        len(family_of(model.encoder).pooler) > 0
        and (model.pooling, model.projection_activation, model.projection_bias) == ("cls", "tanh", True)
        and model.projection_dim == model.encoder.hidden_size
    )


def plain_pooling(model: ModelConfig) -> Literal["mean", "cls", "pooler"]:
    """The `pooling` with which a reader of the plain transformers folder gets our vectors.

    Raises ExportError for a projection that such a folder has no place for.
    """
    if model.projection_dim is None:
        return model.pooling
    if is_pooler(model):
        return "pooler"
    raise ExportError(
        f"the projection to {model.projection_dim} ({model.pooling} pooling, {model.projection_activation}) has no "
        f"place in a plain transformers folder: use --format sentence-transformers"
    )
