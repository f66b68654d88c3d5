"""Rows from memory as a dataset of a run: they are written to a file named by its content, which resumed runs find."""

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from hybrid_jax.data.dataset import DatasetConfig
from hybrid_jax.data.records import DataError
from hybrid_jax.disk.files import atomic_file

FOLDER = Path("~/.cache/hybrid_jax/rows")


def rows(
    records: Iterable[Mapping[str, Any]], name: str = "rows", folder: str | Path = FOLDER, **options: Any
) -> DatasetConfig:
    """A dataset of the records, for `data.datasets` of a config.

    A record is what a line of a file would be, in any of its formats: {"id", "lang", "query", "passage"}, where records
    with the same id are translations of one another. They are written as JSON lines to FOLDER/HASH.jsonl, once for the
    same records. `options` are further fields of the dataset, such as `languages` or `lang`.

    Raises DataError for a record that JSON cannot hold and where there is none; what else is wrong with a record is
    found when it is read.
    """
    lines: list[bytes] = []
    for number, record in enumerate(records, start=1):
        try:
            lines.append(json.dumps(dict(record), ensure_ascii=False, allow_nan=False).encode() + b"\n")
        except UnicodeEncodeError:
            raise DataError(
                f"record {number} of {name}: holds half of a surrogate pair (\\ud800-\\udfff), which no encoding can "
                f"hold, remove it"
            ) from None
        except (TypeError, ValueError) as error:
            raise DataError(f"record {number} of {name}: {error}: give texts and numbers under text keys") from None
    if not lines:
        raise DataError(f"no records for dataset {name}: give at least one")
    content = b"".join(lines)
    path = Path(folder).expanduser() / f"{sha256(content).hexdigest()[:24]}.jsonl"
    if not path.exists():
        with atomic_file(path) as file:
            file.write(content)
    return DatasetConfig(name=name, path=str(path), **options)
