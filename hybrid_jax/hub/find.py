"""Finds a model's folder: a local path, or a model of the Hugging Face hub."""

import os
import re
from pathlib import Path

from hybrid_jax.disk.addresses import refuse_address
from hybrid_jax.disk.files import nearest_folder
from hybrid_jax.hub.json_files import PretrainedError

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_HUB_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]
_OTHER_FORMATS = ["onnx/*", "openvino/*", "coreml/*", "*/checkpoint-*"]


def find_folder(path_or_id: str | Path) -> Path:
    """The folder at a local path, or of a model of the Hugging Face hub, which is downloaded or taken from its cache.

    Raises PretrainedError when there is neither.
    """
    refuse_address(path_or_id)
    path = Path(path_or_id).expanduser()
    if path.is_dir():
        return path if path.name not in ("", "..") else path.resolve()  # "." has no name to call the model by
    name = str(path_or_id)
    hint = nearest_folder(path)
    if path.exists() or not _HUB_ID.fullmatch(name):
        raise PretrainedError(
            f"no folder {name}{hint}: give the folder of a run or a model, or a hub id such as "
            "intfloat/multilingual-e5-base"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=_HUB_FILES, ignore_patterns=_OTHER_FORMATS))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
        reason = str(error).strip().split("\n")[0].split(". ")[0][:200].rstrip(".")
        raise PretrainedError(
            f"{name} is not a folder here{hint} and cannot be downloaded from the Hugging Face hub{offline}: "
            f"{type(error).__name__}: {reason}: check the name and the network, or download it elsewhere and give its "
            f"folder"
        ) from None


def is_sentence_transformers(path_or_id: str | Path) -> bool:
    """Whether the folder says how tokens become a text's vector (it has modules.json), or has the transformer alone."""
    return (find_folder(path_or_id) / "modules.json").is_file()
