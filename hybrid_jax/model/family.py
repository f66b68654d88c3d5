"""What the rest of the code must know of a model family, as one value.

A family is a folder of `model/` with its Flax module, its config class and its side of the Hugging Face format. The
folder's `__init__.py` puts them together as a `Family`. `hub/`, `export/` and `config.py` ask that value; none of them
tests which family it is. `docs/models.md` shows how to add one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from flax import nnx
from pydantic import BaseModel

from hybrid_jax.model.keys import Key

ConfigT = TypeVar("ConfigT", bound=BaseModel)

Row = tuple[str, str]
"""A tensor's name in the Hugging Face file and the parameter's name here. `{n}` stands for a layer's number in both."""


@dataclass(frozen=True)
class Family(Generic[ConfigT]):
    """One model family. Parameter names are dotted paths below the encoder, e.g. `layers.0.output.kernel`."""

    architecture: str
    """The value of `architecture` in a config, by which the family is told from others."""
    config_class: type[ConfigT]
    """A frozen pydantic model. Its fields must include `architecture`, `vocab_size`, `hidden_size`, `num_layers`,
    `num_heads`, `max_length` and `dtype`, which code outside the family reads."""
    module_class: Callable[[ConfigT, nnx.Rngs], nnx.Module]
    """Made from a config and random numbers; called as `module(tokens, segments, noise)`, the first two
    int[rows, length], it returns [rows, length, hidden_size]. See `segments.py` and `dropout.py`."""
    model_types: Mapping[str, str]
    """The values of `model_type` in a config.json that the family reads, and what people call these models."""
    from_hugging_face: Callable[[Mapping[str, Any]], ConfigT]
    """The content of a config.json, completed with transformers' defaults -> a config. Raises HuggingFaceError for what
    the family does not support, or ValidationError for sizes that do not go together."""
    to_hugging_face: Callable[[ConfigT, Mapping[str, int | None]], dict[str, Any]]
    """A config, and the ids of the `special_tokens` by field (`pad_token_id`, …) -> the content of a config.json but
    for `dtype`. Raises HuggingFaceError for what transformers cannot express."""
    tensor_names: Sequence[Row]
    """A row for every parameter. The first matching row wins, in both directions; further rows of a parameter are older
    names of its tensor, which are read but not written."""
    config_keys: Sequence[Key] = ()
    """What is decided about the keys of config.json that not all families share (`CONFIG_KEYS` in `hugging_face.py`).
    Keys without a decision are noted and ignored."""
    prefixes: Sequence[str] = ()
    """What classes that wrap the encoder put before its tensors' names, e.g. `bert.`; left out when reading."""
    ignored: Sequence[str] = ()
    """Regular expressions for the full names of tensors that are no part of the encoder: buffers, heads of the
    pretraining task."""
    pooler: Sequence[Row] = ()
    """Rows for the tensors of a dense layer on the first token, to be read as a tower's `projection.kernel` and
    `projection.bias` (with tanh). Empty: the family has none."""
    pools_with_pooler: Callable[[ConfigT], bool] = lambda config: False
    """Whether the pooler, where a file has it, makes the vector of a text unless the user chooses otherwise."""
    tokenizer_inputs: Callable[[ConfigT], Sequence[str]] = lambda config: ("input_ids", "attention_mask")
    """What transformers' tokenizer must return for transformers' model of the family, in this order."""
    special_tokens: Sequence[str] = ("pad", "bos", "eos")
    """The special tokens whose ids config.json has fields for."""
