"""What the families' readers and writers of transformers' config.json share: checked fields, sizes, activations.

Every error names the field and its value. Callers know the file and put its path in front.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hybrid_jax.model.activations import HUGGING_FACE, Activation
from hybrid_jax.model.keys import Key, irrelevant, obeyed, refused

FieldsT = TypeVar("FieldsT", bound=BaseModel)
Size = Annotated[int, Field(ge=1, le=2**20)]


CONFIG_KEYS: tuple[Key, ...] = (
    *obeyed("the family that reads the file", "model_type"),
    *obeyed(
        "sizes, which must be those of the tensors",
        *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
        *("max_position_embeddings",),
    ),
    *refused(
        "a decoder, or attention to earlier tokens only",
        *("is_decoder", "add_cross_attention", "is_encoder_decoder", "is_causal"),
        allowed=(False, None),
    ),
    *refused("quantized weights", "quantization_config", "compression_config"),
    *refused("code, which is never run", "auto_map", "custom_pipelines", allowed=({},)),
    *refused("layers that differ from what the other keys say", "per_layer_config", "pruned_heads", allowed=(None, {})),
    *refused("other files instead of these", "transformers_weights"),
    *refused("other files instead of these", "configuration_files", allowed=([],)),
    *refused("outputs in another form", "return_dict", allowed=(True, None)),
    *refused("attention that these models do not have", "attention_chunk_size"),
    *irrelevant(
        "how the file's numbers were stored or would be computed in PyTorch. Here parameters are float32, and products "
        "float32 unless `dtype` of the encoder says bfloat16",
        *("dtype", "torch_dtype", "attn_implementation", "_attn_implementation", "experts_implementation"),
        *("chunk_size_feed_forward", "gradient_checkpointing", "use_cache", "torchscript", "use_bfloat16"),
    ),
    *irrelevant(
        "heads, which are left out: their tensors are ignored by name or refused",
        *("architectures", "classifier_dropout", "num_labels", "id2label", "label2id", "problem_type"),
        *("tie_word_embeddings", "tie_encoder_decoder", "finetuning_task", "task_specific_params"),
    ),
    *irrelevant("ids that the tokenizer's files say", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"),
    *irrelevant("more outputs, which nothing reads", "output_hidden_states", "output_attentions"),
    *irrelevant("initial weights, which the file's replace", "initializer_range"),
    *irrelevant("where the folder came from", "_name_or_path", "name_or_path", "transformers_version", "_commit_hash"),
    *irrelevant("which tokenizer's class: see tokenizer_config.json", "tokenizer_class"),
)
"""The keys of config.json that mean the same for all families."""


class HuggingFaceError(ValueError):
    """A config that cannot be read from transformers' format, or not be written in it."""


class TransformerFields(BaseModel):
    """The fields of config.json that all families share. The bounds are far above those of any real model."""

    model_config = ConfigDict(extra="ignore")

    vocab_size: Annotated[int, Field(ge=1, le=2**24)]
    hidden_size: Annotated[int, Field(ge=1, le=2**15)]
    num_hidden_layers: Annotated[int, Field(ge=1, le=512)]
    num_attention_heads: Annotated[int, Field(ge=1, le=2**10)]
    intermediate_size: Annotated[int, Field(ge=1, le=2**17)]
    max_position_embeddings: Size


@runtime_checkable
class Sizes(Protocol):
    """A config with the sizes that all families share."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def hidden_size(self) -> int: ...
    @property
    def num_layers(self) -> int: ...
    @property
    def num_heads(self) -> int: ...
    @property
    def intermediate_size(self) -> int: ...


def sizes_to_hugging_face(config: Sizes) -> dict[str, int]:
    """The sizes of our config under transformers' names."""
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "intermediate_size": config.intermediate_size,
    }


def read_fields(fields: type[FieldsT], content: Mapping[str, Any]) -> FieldsT:
    """`content` as `fields`. Raises HuggingFaceError for the first field that is missing or out of bounds."""
    try:
        return fields.model_validate(content)
    except ValidationError as error:
        raise HuggingFaceError(first_problem(error)) from None


def first_problem(error: ValidationError) -> str:
    """The first problem of a pydantic error in one line: field, value, message."""
    problem = error.errors()[0]
    field = ".".join(str(part) for part in problem["loc"])
    return f"{field} = {problem['input']!r}: {problem['msg']}" if field else problem["msg"]


def activation_from_hugging_face(name: str) -> Activation:
    """Our name of the activation that transformers calls `name`. Raises HuggingFaceError for one we do not have."""
    if name not in HUGGING_FACE:
        raise HuggingFaceError(f"activation {name!r}: known are {', '.join(HUGGING_FACE)}")
    return HUGGING_FACE[name]


def activation_to_hugging_face(activation: Activation) -> str:
    """transformers' name of our activation. Raises HuggingFaceError when it has none that we know."""
    for name, ours in HUGGING_FACE.items():
        if ours == activation:
            return name
    raise HuggingFaceError(
        f"activation {activation!r} of the encoder cannot be exported: transformers' names are known for "
        f"{', '.join(dict.fromkeys(HUGGING_FACE.values()))}"
    )
