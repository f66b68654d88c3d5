"""config.json of a Hugging Face folder -> the config of our encoder."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from hybrid_jax.disk.transformers import import_transformers
from hybrid_jax.hub.json_files import PretrainedError, read_object
from hybrid_jax.hub.keys import CONFIG, check_keys
from hybrid_jax.model.families import FAMILIES, EncoderConfig, family_of_model_type
from hybrid_jax.model.hugging_face import CONFIG_KEYS, HuggingFaceError, first_problem


def read_encoder_config(folder: Path) -> tuple[EncoderConfig, Sequence[str]]:
    """The encoder that the folder's config.json describes, and notes on keys that are not read.

    Fields that the file leaves out have the defaults of transformers. Raises PretrainedError for a model type that no
    family reads, and for sizes or options that we do not support.
    """
    path = folder / "config.json"
    raw = read_object(path)
    model_type = raw.get("model_type")
    family = family_of_model_type(model_type)
    if family is None:
        problem = f"has model_type {model_type!r}" if path.is_file() else "does not exist"
        supported = [name for family in FAMILIES for name in family.model_types]
        raise PretrainedError(f"{path} {problem}: hybrid_jax reads {', '.join(supported)}")
    notes = check_keys(path, raw, CONFIG, (*CONFIG_KEYS, *family.config_keys))
    auto = import_transformers().AutoConfig
    try:
        content = auto.from_pretrained(folder, local_files_only=True, trust_remote_code=False).to_dict()
    except Exception as error:  # noqa: BLE001 (transformers raises whatever its parts raise)
        raise PretrainedError(f"{path}: transformers refuses it: {' '.join(str(error).split())[:300]}") from None
    try:
        return family.from_hugging_face(content), notes
    except HuggingFaceError as error:
        raise PretrainedError(f"{path}: {error}") from None
    except ValidationError as error:
        raise PretrainedError(f"{path}: {first_problem(error)}") from None
