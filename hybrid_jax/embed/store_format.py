"""The files of an embedding store, and the manifest that describes them.

    manifest.json      how the store was made, and each finished shard's number of rows and SHA-256 sums
    00000.npy          a shard's vectors, [rows, dim] in float32, float16 or int8
    00000.ids.json     the ids of its candidates

A shard counts once the manifest lists it, and the manifest is replaced after the shard's files are on disk. So a writer
that is killed at any moment leaves a store that can be resumed. The bytes of a finished store do not depend on when or
in how many attempts it was written.
"""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hybrid_jax.disk.files import write_text
from hybrid_jax.embed.quantization import Dtype, QuantizationLoss

MANIFEST = "manifest.json"


class StoreError(ValueError):
    """A store that cannot be read or resumed. The message names the file and says what to do."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Recipe(_Frozen):
    """All that decides a store's bytes, apart from the corpus. A store is resumed only with an equal recipe."""

    model: dict[str, Any]
    """All that decides the vector of a text, as plain JSON values (`identity.embedding_identity`)."""
    side: Literal["queries", "passages"] = "passages"
    """Whether the texts were encoded as queries or as passages."""
    dtype: Dtype = "float32"
    """How numbers are stored."""
    rows_per_shard: int = Field(default=65_536, ge=1)
    """The rows of every shard but the last; a killed writer loses at most this many."""


class Shard(_Frozen):
    """A finished shard."""

    rows: int
    """The number of its vectors."""
    vectors_sha256: str
    """SHA-256 of its .npy file."""
    ids_sha256: str
    """SHA-256 of its .ids.json file."""
    texts_sha256: str
    """SHA-256 of its ids and texts. The texts themselves are not in the store."""


class Manifest(_Frozen):
    """The content of manifest.json."""

    format: Literal["hybrid_jax.embeddings.1"] = "hybrid_jax.embeddings.1"
    """The file format and its version."""
    recipe: Recipe
    """How the store was made."""
    facts: dict[str, Any] = {}
    """Where the encoder came from, for people to read. Not compared on resuming: a model's folder may move."""
    complete: bool = False
    """Whether the whole corpus is in the store."""
    rows: int = 0
    """The number of vectors in all finished shards."""
    dim: int | None = None
    """The number of dimensions of a vector; None before the first shard."""
    loss: QuantizationLoss | None = None
    """Measured on the first shard for float16 and int8; None for float32, and before the first shard."""
    texts_sha256: str | None = None
    """SHA-256 of all ids and texts of the corpus; None until the store is complete."""
    shards: tuple[Shard, ...] = ()
    """The finished shards, in the order of the corpus."""


def vectors_path(folder: Path, shard: int) -> Path:
    """The file of a shard's vectors."""
    return folder / f"{shard:05}.npy"


def ids_path(folder: Path, shard: int) -> Path:
    """The file of a shard's ids."""
    return folder / f"{shard:05}.ids.json"


def read_manifest(folder: Path) -> Manifest:
    """Raises StoreError if there is none, or it is damaged."""
    path = folder / MANIFEST
    if not path.is_file():
        raise StoreError(f"{folder} is not a store (no {MANIFEST}): `python -m hybrid_jax.eval embed` makes one")
    try:
        return Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, ValueError) as error:
        first_line = str(error).splitlines()[0]
        raise StoreError(
            f"{path} is damaged ({first_line}): restore it, or delete the folder and embed again"
        ) from None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replaces the manifest in one step."""
    write_text(folder / MANIFEST, json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n")


def damaged_shard(path: Path, cause: str) -> StoreError:
    """The error for a shard's file that is missing or damaged."""
    return StoreError(
        f"{path}: this shard is damaged ({cause}): run the command that made it again, it encodes damaged shards again"
    )
