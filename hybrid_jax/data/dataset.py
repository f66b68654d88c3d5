"""The config of a dataset: where its text is, in which format, and what it is used for."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from hybrid_jax.data.columns import check_columns, check_read
from hybrid_jax.data.formats import BITEXTS, Format, supported_kinds
from hybrid_jax.data.languages import language_tag
from hybrid_jax.data.schedule import Kind


class DatasetConfig(BaseModel):
    """One dataset: where it is, how to read it, what to use it for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    """The dataset's name in logs and reports: letters, digits, - and _."""
    path: str
    """Files (a path or a glob; $HYBRID_JAX_DATA and ~ are expanded) of JSON lines, CSV, TSV, Parquet or Arrow, a folder
    that Hugging Face `datasets` saved, a dataset of its hub ("hub:NAME" or "hub:NAME:CONFIG"), "demo", or a prepared
    TFDS dataset, by name ("tfds:xquad/en") or folder ("tfds:/a/folder"). Several are separated by commas."""
    format: Literal["auto", "aligned", "qa", "bitext", "bitext_pairs", "tevatron", "triplets", "squad"] = "auto"
    """The format of the files' rows (see docs/data.md); auto decides by each file's first row."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Our names for the files' columns or keys, where these have others: {query: question, passage: context}, or
    {de: german} for a bitext; "translation.de" is a key of an object. See docs/data.md."""
    kinds: tuple[Kind, ...] | None = None
    """The kinds of pairs to make from it; None: all that the format allows."""
    languages: tuple[str, ...] | None = None
    """Keep only rows in these languages, by any of their codes ("de", "deu", "zho_Hant"); None: all."""
    lang: str | None = None
    """The language of rows that do not name theirs."""
    ids: Literal["given", "line"] = "given"
    """line: ignore the rows' ids; each line is then a record of its own, never a translation of another line."""
    split: str = "train"
    """The split of "demo" (train, heldout), of a folder of Hugging Face `datasets` or a dataset of the hub, or of a
    TFDS dataset ("train", "train[:10%]")."""
    licence: str | None = None
    """The licence of the texts, as their source names it; shown on the model card."""
    tfds_dir: str | None = None
    """The folder of TFDS datasets given by name; None: $TFDS_DATA_DIR or ~/tensorflow_datasets."""

    @property
    def parts(self) -> list[str]:
        """The parts of `path`, which are separated by commas."""
        return [part.strip() for part in self.path.split(",")]

    @field_validator("languages", "lang")
    @classmethod
    def _tags(cls, value: tuple[str, ...] | str | None) -> tuple[str, ...] | str | None:
        return language_tag(value) if isinstance(value, str) else value and tuple(map(language_tag, value))

    @field_validator("languages", "kinds")
    @classmethod
    def _not_empty(cls, values: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if values is not None and (not values or len(set(values)) < len(values)):
            raise ValueError(f"{list(values)} must name something, and each only once (leave it out to mean all)")
        return values

    @model_validator(mode="after")
    def _combinations(self) -> "DatasetConfig":
        if not all(self.parts):
            raise ValueError(f"path {self.path!r} is empty or has an empty part between commas, name a file there")
        has_files = not all(map(is_named, self.parts))
        if not has_files and (self.format != "auto" or self.ids != "given" or self.columns):
            raise ValueError(f"format, ids and columns are for files, but path is {self.path!r}: leave them out")
        if self.lang is not None and "demo" in self.parts:
            raise ValueError(
                f"lang is {self.lang!r}, but every row of the demo names its own: leave it out, or keep only rows in "
                f"that language with languages: [{self.lang}]"
            )
        check_columns(self.columns)
        if self.lang is not None and self.format in BITEXTS:
            raise ValueError(
                f"lang is {self.lang!r}, but every row of format {self.format} names its own: leave it out"
            )
        if self.format == "squad" and self.ids == "line":
            raise ValueError("ids is 'line', but squad has one object per file: leave it out")
        if self.format != "auto":
            check_read(self.columns, self.format)
            check_kinds(self, self.format)
        return self


def check_kinds(config: DatasetConfig, name: Format) -> None:
    """Raises ValueError if the config asks for a kind of pairs that the format cannot give."""
    supported = supported_kinds(name, config.ids == "given")
    impossible = [kind for kind in config.kinds or () if kind not in supported]
    if impossible:
        ids = "" if config.ids == "given" else " with ids: line"
        raise ValueError(
            f"kinds has {impossible[0]!r}, but format {name}{ids} gives only {', '.join(supported)}: correct kinds"
        )


def is_named(part: str) -> bool:
    """Whether this part of a path is the demo corpus or a TFDS dataset, not files."""
    return part == "demo" or part.startswith("tfds:")
