"""tokenizer_config.json: its keys are checked against the table, its limit is read. `data/tokenizer.py` reads more."""

from pathlib import Path
from typing import Any

from hybrid_jax.hub import keys
from hybrid_jax.hub.json_files import PretrainedError, read_object
from hybrid_jax.hub.keys import check_keys

_NO_LIMIT = 1e9
"""transformers writes 1e30 for a tokenizer without a limit."""


def check_tokenizer_files(transformer: Path) -> list[str]:
    """Notes on keys of tokenizer_config.json that are not read.

    Raises PretrainedError for keys whose values we do not support, and for padding on the left, here or in
    tokenizer.json.
    """
    path = transformer / "tokenizer_config.json"
    content = read_object(path)
    notes = check_keys(path, content, keys.TOKENIZER)
    if "pad_token" in content and content["pad_token"] is None:
        raise PretrainedError(
            f"{path}: pad_token = null: without one, no library can pad a batch: name the padding token"
        )
    inputs = content.get("model_input_names")
    if inputs is not None and not (
        isinstance(inputs, list) and {"input_ids", "attention_mask"} <= set(map(str, inputs))
    ):
        raise PretrainedError(
            f"{path}: model_input_names = {inputs}: without attention_mask, a text's vector depends on what else is in "
            f"its batch"
        )
    padding: Any = read_object(transformer / "tokenizer.json").get("padding") or {}
    side = str(padding.get("direction", "right")).lower() if isinstance(padding, dict) else "right"
    if "padding_side" not in content and side != "right":
        raise PretrainedError(f"{transformer / 'tokenizer.json'}: padding on the {side}: only right is supported")
    for name in ("processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json"):
        if (transformer / name).exists():
            raise PretrainedError(
                f"{transformer / name}: another processor of the inputs: only a tokenizer is supported"
            )
    return notes


def tokenizer_limit(transformer: Path) -> int | None:
    """The tokens to which the tokenizer cuts texts, special ones included, or None when it does not.

    Raises PretrainedError for a limit that is not a number from 3.
    """
    path = transformer / "tokenizer_config.json"
    content = read_object(path)
    limit = content.get("model_max_length", content.get("max_len"))
    if limit is None:
        return None
    number = not isinstance(limit, bool) and isinstance(limit, int | float)
    if number and limit >= _NO_LIMIT:
        return None
    if not number or not limit >= 3 or limit != int(limit):
        raise PretrainedError(f"{path}: model_max_length = {limit!r}: expected a whole number from 3")
    return int(limit)
