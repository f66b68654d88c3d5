"""Fields of a config that nobody set are those of the folder that `pretrained` names.

They are filled in before the config is validated, since the folder says to which family the encoder's fields belong.
"""

from collections.abc import Mapping
from typing import Any

from hybrid_jax.hub.find import is_sentence_transformers
from hybrid_jax.hub.folders import open_pretrained
from hybrid_jax.hub.json_files import PretrainedError


def completed(content: dict[str, Any], path_or_id: str, overrides: Mapping[str, str | None]) -> dict[str, Any]:
    """A config's content, completed by what the pretrained folder says; what the content says itself stands.

    `overrides` are the values of the command line by dotted field. They are not written into the content, but they
    decide as the content does what is taken from the folder. Raises PretrainedError for a folder that cannot be read,
    or whose encoder is of another family than the content names.
    """
    model = _mapping(content.get("model"))
    stated = _mapping(model.get("encoder")).get("architecture")
    pooling = overrides.get("model.pooling", model.get("pooling"))
    vocabulary = overrides.get("vocabulary", content.get("vocabulary"))
    sentence_transformers = is_sentence_transformers(path_or_id)
    # A pooling that the config chooses replaces that of the folder, and its pooler or Dense with it.
    chosen = pooling if pooling in ("mean", "cls") and not sentence_transformers else None
    pretrained = open_pretrained(path_or_id, chosen)
    from_folder = pretrained.model.model_dump(mode="json", exclude={"tied", "temperature", "learn_temperature"})
    architecture = from_folder["encoder"]["architecture"]
    if stated not in (None, architecture):
        raise PretrainedError(
            f"model.encoder.architecture {stated}: that of {path_or_id} is {architecture}: leave architecture out"
        )
    if pooling not in (None, from_folder["pooling"]):
        from_folder = {"encoder": from_folder["encoder"]}
    elif _has_own_projection(model, overrides, from_folder):
        # What belongs to the folder's projection does not suit another: LaBSE's tanh, and cls where the pooler asks it.
        its = {"projection_activation", "projection_bias", *(["pooling"] if pretrained.projection == "pooler" else [])}
        from_folder = {name: value for name, value in from_folder.items() if name not in its}
    tokenizer = {"path": str(pretrained.transformer), "lower_case": pretrained.lower_case}
    if vocabulary == "new":
        tokenizer = {}
        del from_folder["encoder"]["vocab_size"]  # it follows from data.tokenizer: see `unset.py`
    prompts = {"query_prompt": pretrained.query_prompt, "passage_prompt": pretrained.passage_prompt}
    data = {**(prompts if sentence_transformers else {}), "tokenizer": tokenizer}
    return _filled({**content, "pretrained": path_or_id}, {"model": from_folder, "data": data})


def _has_own_projection(
    model: Mapping[str, Any], overrides: Mapping[str, str | None], from_folder: Mapping[str, Any]
) -> bool:
    """Whether the config asks for a projection of another shape than the folder's, so that its weights do not fit."""
    stated = {**model, **{name.removeprefix("model."): value for name, value in overrides.items()}}
    names = [name for name in ("projection_dim", "projection_bias") if name in stated]
    return any(str(stated[name]) != str(from_folder[name]) for name in names)  # as text: so is the command line's


def _mapping(value: Any) -> dict[str, Any]:
    """A part of a config; an empty one if pydantic is going to refuse the value."""
    return value if isinstance(value, dict) else {}


def _filled(values: dict[str, Any], missing: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with those of `missing` that they lack, in nested mappings too."""
    both = {
        name: _filled(values[name], value)
        for name, value in missing.items()
        if isinstance(value, dict) and isinstance(values.get(name), dict)
    }
    return {**missing, **values, **both}
