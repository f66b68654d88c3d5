"""JSON files of a model folder, and the error for a folder that cannot be used."""

import json
from pathlib import Path
from typing import Any

MAX_BYTES = 64 * 2**20


class PretrainedError(ValueError):
    """A model folder that cannot be used. The message names the file and what to do."""


def read_json(path: Path) -> Any:
    """The parsed file. Raises PretrainedError when it is missing, damaged or larger than 64 MiB."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise PretrainedError(f"{path} has {path.stat().st_size:,} bytes: no model's configuration is so large")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        if isinstance(error, PretrainedError):
            raise
        raise PretrainedError(f"{path}: cannot be read ({error}): get the folder again") from None


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file, or an empty one when there is no file. Raises PretrainedError otherwise."""
    content = read_json(path) if path.is_file() else {}
    if not isinstance(content, dict):
        raise PretrainedError(f"{path}: expected an object, found {type(content).__name__}: get the folder again")
    return content
