"""Named arrays and a header that describes them, in one .npz file without pickle.

The header is a pydantic model. It is stored as one more array, `header`: its JSON in UTF-8, as uint8.
"""

import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from hybrid_jax.disk.files import atomic_file

Header = TypeVar("Header", bound=BaseModel)


def save_arrays(path: Path, header: BaseModel, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes the header and the arrays, compressed, as one file. Raises OSError as `atomic_file` does."""
    text = np.frombuffer(header.model_dump_json().encode(), np.uint8)
    with atomic_file(path) as stream:
        np.savez_compressed(stream, allow_pickle=False, header=text, **arrays)


def load_arrays(
    path: Path, kind: type[Header], names: Callable[[Header], Iterable[str]], fix: str
) -> tuple[Header, dict[str, np.ndarray]]:
    """Reads the header, of type `kind`, and the arrays that `names(header)` lists.

    Raises ValueError in one line that ends with `fix` if the file is missing, damaged or not such a file.
    """
    if not path.is_file():
        raise ValueError(f"no file {path}: {fix}")
    try:
        # opened here, as np.load leaves a damaged file open
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            header = kind.model_validate(json.loads(archive["header"].tobytes()))
            return header, {name: archive[name] for name in names(header)}
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path}: its header is not one of ours ({where}: {first['msg']}); {fix}") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror or error}); {fix}") from None
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: damaged ({type(error).__name__}: {error}); {fix}") from error
