"""Reading a dataset: the rows of its files, prepared TFDS datasets or demo corpus through one function.

Rows are streamed. Memory holds one line at a time, and for each row about 30 bytes to recognise duplicates.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from hybrid_jax.data import formats, jsonl, tables
from hybrid_jax.data.columns import renamed
from hybrid_jax.data.dataset import DatasetConfig, is_named
from hybrid_jax.data.digests import DigestNumbers
from hybrid_jax.data.fields import Place, Repairs
from hybrid_jax.data.hugging_face import HUB, is_saved_dataset
from hybrid_jax.data.languages import base_language, is_language_key, language_tag
from hybrid_jax.data.locate import find_files, find_tfds, label_files, resolve_files
from hybrid_jax.data.recognise import format_of
from hybrid_jax.data.records import DataError, OnBadRow, Row
from hybrid_jax.data.schedule import KINDS, Kind
from hybrid_jax.data.squad import squad_rows
from hybrid_jax.disk.files import sha256_of

READER_VERSION = 6
"""Part of every fingerprint; raised when the same files begin to give other rows, so that caches are made again."""

_LISTED_BAD_ROWS = 20
_UNDETERMINED = "und"
"""ISO 639's code for a language that is not known."""


@dataclass(slots=True)
class BadRows:
    """Called with every bad row: raises the first one, or, with `skip`, counts and lists them."""

    skip: bool
    count: int = 0
    listed: list[str] = field(default_factory=list)
    """The first 20 messages."""

    def __call__(self, error: DataError) -> None:
        """Raises the error, or with `skip` counts it."""
        if not self.skip:
            raise error
        self.count += 1
        if len(self.listed) < _LISTED_BAD_ROWS:
            self.listed.append(str(error))

    def summary(self) -> str:
        """How many rows were bad, and the first of them, one per line; "" if there were none."""
        if not self.count:
            return ""
        more = [f"  … and {self.count - len(self.listed)} more"] if self.count > len(self.listed) else []
        return "\n".join([f"{self.count} bad rows skipped:", *(f"  {line}" for line in self.listed), *more])


def read_rows(config: DatasetConfig, on_bad: OnBadRow, repairs: Repairs | None = None) -> Iterator[Row]:
    """All rows of the dataset, in the order of its files; `repairs` counts what `Repairs` lists.

    Every bad row is passed to `on_bad`. Raises DataError, whatever `on_bad` does, for what skipping rows cannot mend: a
    missing file, a format that cannot be recognised or cannot give the requested kinds, a language without rows, or no
    rows at all.
    """
    repairs = Repairs() if repairs is None else repairs
    requested = None if config.languages is None else frozenset(config.languages)
    all_languages: set[str] = set()
    used_languages: set[str] = set()

    def requested_rows() -> Iterator[Row]:
        for line in _lines(config, on_bad, repairs):
            all_languages.update(row.lang for row in line)
            kept = [row for row in line if requested is None or row.lang in requested]
            if not len(kept) < 2 <= len(line):  # else the filter removed one side of a translation
                yield from kept

    for row in without_duplicates(requested_rows(), on_bad):
        used_languages.add(row.lang)
        if _titles_are_uneven(row):
            repairs.note("uneven_titles", row.where)
        yield row
    missing = sorted(requested - used_languages) if requested else []
    if missing or not used_languages:
        shown = ", ".join(sorted(all_languages)) or "nothing usable"
        lack = f"no usable row in language {', '.join(missing)}" if missing else "no usable row"
        raise DataError(f"{config.path}: {lack} (dataset {config.name!r} holds {shown}), correct languages or path")


def without_duplicates(rows: Iterable[Row], on_bad: OnBadRow) -> Iterator[Row]:
    """The rows, without those that have id and language of an earlier one, which are passed to `on_bad`."""
    seen = DigestNumbers()
    for row in rows:
        if seen.add(f"{row.lang}\0{row.id}".encode()).is_new:
            yield row
        else:
            on_bad(
                DataError(
                    f"{row.where}: duplicate id {row.id[:80]!r} in {row.lang!r}, remove one of the rows, or set "
                    f"the dataset's ids: line if its ids mean nothing"
                )
            )


def stream_rows(config: DatasetConfig, on_bad: OnBadRow) -> Iterator[Row]:
    """The dataset's rows in the requested languages, in the order of its files, with one line in memory at a time.

    For readers that need no ids and languages: unlike in `read_rows`, ids may repeat, a language may have no row, and
    rows whose language nothing names are in "und", unless the config asks for certain languages.
    """
    for line in _lines(config, on_bad, Repairs(), _UNDETERMINED if config.languages is None else None):
        yield from (row for row in line if config.languages is None or row.lang in config.languages)


def _titles_are_uneven(row: Row) -> bool:
    """Whether only the positive has a title, or only the negatives have."""
    if row.passage is None or not row.negatives:
        return False
    titled = {negative.title is not None for negative in row.negatives}
    return titled == {row.title is None}


def resolve_kinds(config: DatasetConfig) -> tuple[Kind, ...]:
    """The kinds of pairs to make from the dataset: those in its config, or all that every one of its parts allows.

    Raises DataError if a file does not exist, or cannot give a kind that the config names.
    """
    supported = supported_kinds(config)
    return config.kinds or supported


def supported_kinds(config: DatasetConfig) -> tuple[Kind, ...]:
    """The kinds of pairs that every part of the dataset can give. Raises DataError as `resolve_kinds`."""
    kinds = [formats.supported_kinds(format_of(file, config), config.ids == "given") for file in _files(config)]
    for part in config.parts:
        if part.startswith("tfds:"):
            from hybrid_jax.data.corpora import aligned_tfds  # tensorflow_datasets takes a second to import

            given = aligned_tfds.kinds_of(find_tfds(part, config))
            if impossible := [kind for kind in config.kinds or () if kind not in given]:
                raise DataError(
                    f"{part}: kinds has {impossible[0]!r}, but it was written from data that gives only "
                    f"{', '.join(given)}: correct kinds"
                )
            kinds.append(given)
    return tuple(kind for kind in KINDS if all(kind in some for some in kinds))


def fingerprint(config: DatasetConfig) -> dict[str, Any]:
    """What the rows depend on besides the config, as JSON values: the SHA-256 of each file, of a TFDS dataset's shards
    or of the demo's texts. It is the same on machines that have the same data in different folders."""
    sources: list[dict[str, Any]] = []
    files = _files(config)
    for file, label in label_files(files).items():
        sources.append({"file": label, "bytes": file.stat().st_size, "sha256": sha256_of(file)})
    for part in filter(is_named, config.parts):
        if part == "demo":
            digest = hashlib.sha256()
            for row in _demo_rows(config):
                digest.update(repr((row.id, row.lang, row.query, row.passage)).encode())
            sources.append({"demo": config.split, "sha256": digest.hexdigest()})
        else:
            folder = find_tfds(part, config)
            shards = {file.name: sha256_of(file) for file in sorted(folder.glob("*.array_record*"))}
            sources.append({"tfds": "/".join(folder.parts[-3:]), "split": config.split, "sha256": shards})
    named = [number for number, part in enumerate(config.parts) if is_named(part)]
    order = {"named_parts": named} if 0 < len(named) < len(config.parts) else {}  # rows are read in the parts' order
    return {"reader": READER_VERSION, "sources": sources, **order}


def prepare_tfds(config: DatasetConfig, out_dir: Path, on_bad: OnBadRow, repairs: Repairs | None = None) -> Path:
    """Writes the dataset as ArrayRecord below `out_dir`, one example per record, and returns the prepared folder, which
    can be read as path "tfds:FOLDER".

    Nothing is written before all rows have been read. Raises DataError if the folder exists.
    """
    from hybrid_jax.data.corpora import aligned_tfds  # tensorflow_datasets takes a second to import

    split = config.split if all(map(is_named, config.parts)) else "train"
    rows = read_rows(config, on_bad, repairs)
    return aligned_tfds.write(rows, config.name, split.partition("[")[0], out_dir, supported_kinds(config))


def _files(config: DatasetConfig) -> list[Path]:
    """The dataset's files, in reading order. Raises DataError for a split of what has none."""
    files = resolve_files(config)
    parts = [] if config.split == "train" else [p for p in config.parts if not (is_named(p) or p.startswith(HUB))]
    for file in (file for part in parts for file in find_files(part, config.split)):
        if not is_saved_dataset(file.parent):
            raise DataError(
                f"{file}: a plain file has no splits, but dataset {config.name!r} has split {config.split!r}: leave it "
                f"out (split is for demo, tfds:, hub: and folders of splits that save_to_disk wrote)"
            )
    return files


def _lines(
    config: DatasetConfig, on_bad: OnBadRow, repairs: Repairs, otherwise: str | None = None
) -> Iterator[list[Row]]:
    """The rows of each line (or example) of the dataset, unfiltered; in `otherwise` if nothing names a language."""
    files = _files(config)
    labels = label_files(files)
    for part in config.parts:
        if part == "demo":
            yield from ([row] for row in _demo_rows(config))
        elif part.startswith("tfds:"):
            from hybrid_jax.data.corpora import aligned_tfds  # tensorflow_datasets takes a second to import

            folder = find_tfds(part, config)
            clean = partial(Place, line_id="", repairs=repairs, lang=otherwise)
            yield from ([row] for row in aligned_tfds.read(folder, config.split, config.lang, clean, on_bad))
        else:
            for file in find_files(part, config.split):
                yield from _file_rows(file, labels[file], config, on_bad, repairs, otherwise)


def _file_rows(
    file: Path, label: str, config: DatasetConfig, on_bad: OnBadRow, repairs: Repairs, otherwise: str | None
) -> Iterator[list[Row]]:
    name = format_of(file, config)
    place = partial(Place, repairs=repairs, lang=config.lang, own_ids=config.ids == "given")
    if name == "squad":
        named = _language_in_name(file)
        if config.lang and named and base_language(named) != base_language(config.lang):
            raise DataError(
                f"{file}: its name says {named}, but lang of dataset {config.name!r} is {config.lang}: leave lang out, "
                f"or rename the file"
            )
        lang = config.lang or named or otherwise
        try:
            document = jsonl.read_document(file)
        except DataError as error:
            on_bad(error)
            return
        rows = squad_rows(document, Place(str(file), label, repairs, lang), on_bad)
        yield from ([row] for row in rows)
        return
    to_rows = formats.LINE_FORMATS[name]
    if tables.is_table(file):
        place = partial(place, noun="column", if_missing="name it with the dataset's columns: {OUR_NAME: YOUR_COLUMN}")
    place_of = tables.places(file)
    for number, record in tables.read_records(file, on_bad):
        here = place(where=place_of(number), line_id=f"{label}:{number}")
        try:
            record = renamed(record, config.columns, here)
            if otherwise and config.lang is None and record.get("lang") is None:
                here = replace(here, lang=otherwise)
            rows = to_rows(record, here)
        except DataError as error:
            on_bad(error)
        else:
            yield rows


def _demo_rows(config: DatasetConfig) -> Iterable[Row]:
    from hybrid_jax.data.corpora import demo  # babel's data takes a while to load

    if config.split not in ("train", "heldout"):
        raise DataError(f"demo: there is no split {config.split!r}, set the dataset's split to train or heldout")
    return demo.rows(config.split)


def _language_in_name(file: Path) -> str | None:
    """ "de" for de.json and xquad.deu.json: SQuAD files name their language nowhere else."""
    code = file.name.removesuffix(".gz").removesuffix(".json").rpartition(".")[2]
    tag = language_tag(code) if is_language_key(code) else ""
    return tag if len(base_language(tag)) == 2 or "_" in code else None  # "new" is Newari, and more often a new file
