"""TFDS without TensorFlow: a builder for aligned records, and a reader of prepared datasets.

Datasets are ArrayRecord files, the only format that TFDS reads and writes without TensorFlow and with slices of splits.
`read` accepts our own records and the QA datasets of TFDS (xquad, mlqa, tydi_qa, squad: features id, title, context,
question, answers). It reads the prepared folder, without builder code and without a network.

This module imports tensorflow_datasets (1 s): import it inside the function that needs it.
"""

import json
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from hybrid_jax.data.fields import Place
from hybrid_jax.data.languages import is_language_key, language_tag
from hybrid_jax.data.records import DataError, OnBadRow, Passage, Row
from hybrid_jax.data.schedule import KINDS, Kind

_TYDI_LANGUAGES = {
    "arabic": "ar",
    "bengali": "bn",
    "english": "en",
    "finnish": "fi",
    "indonesian": "id",
    "japanese": "ja",
    "korean": "ko",
    "russian": "ru",
    "swahili": "sw",
    "telugu": "te",
    "thai": "th",
}
_ROW_TEXTS = ("lang", "query", "passage", "title", "passage_id", "where")
_ROW_PASSAGES = ("negatives", "further_positives")
_PASSAGE_TEXTS = ("text", "title", "id")
_KINDS = "kinds"
_FEATURES = frozenset(
    {
        "id",
        *_ROW_TEXTS,
        *(f"{name}_{part}" for name in _ROW_PASSAGES for part in (*_PASSAGE_TEXTS, "per_row")),
    }
)


class AlignedTfds(tfds.core.GeneratorBasedBuilder):
    """Each example is a record: its id and a row for each of its languages. "" stands for None."""

    VERSION = tfds.core.Version("2.1.0")
    RELEASE_NOTES = {  # noqa: RUF012  # TFDS reads it from the class
        "1.0.0": "A record's rows as parallel lists.",
        "2.0.0": "Further positives; titles and ids of negatives.",
        "2.1.0": "The kinds of pairs that the rows can give.",
    }

    def __init__(
        self,
        *,
        records: Iterable[list[Row]] = (),
        split: str = "train",
        kinds: tuple[Kind, ...] = KINDS,
        **kwargs: Any,
    ):
        """`records` (each the rows of one id) are read once, by `download_and_prepare`."""
        self._records = records
        self._split = split
        self._kinds = kinds
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text()
        rows = {name: tfds.features.Sequence(text) for name in _ROW_TEXTS}
        # All rows' negatives in one list, and how many each has: lists of lists need TensorFlow to be written.
        passages = {}
        for name in _ROW_PASSAGES:
            passages |= {f"{name}_{part}": tfds.features.Sequence(text) for part in _PASSAGE_TEXTS}
            passages[f"{name}_per_row"] = tfds.features.Tensor(shape=(None,), dtype=np.int32)
        return tfds.core.DatasetInfo(
            builder=self,
            description="Aligned queries and passages: the rows of one id are translations of one another.",
            features=tfds.features.FeaturesDict({"id": text, **rows, **passages}),
            metadata=tfds.core.MetadataDict({_KINDS: self._kinds}),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
        return {self._split: self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for rows in self._records:
            example: dict[str, Any] = {name: [getattr(row, name) or "" for row in rows] for name in _ROW_TEXTS}
            for name in _ROW_PASSAGES:
                by_row: list[tuple[Passage, ...]] = [getattr(row, name) for row in rows]
                for part in _PASSAGE_TEXTS:
                    example[f"{name}_{part}"] = [getattr(p, part) or "" for passages in by_row for p in passages]
                example[f"{name}_per_row"] = np.array([len(passages) for passages in by_row], np.int32)
            yield rows[0].id, {"id": rows[0].id, **example}


def write(rows: Iterable[Row], name: str, split: str, out_dir: Path, kinds: tuple[Kind, ...] = KINDS) -> Path:
    """Writes `rows`, which can give `kinds` of pairs, below `out_dir`, and returns the prepared folder. The rows of one
    id need not be adjacent.

    Memory stays constant: rows are gathered by id in a temporary SQLite file. Raises DataError where something is there
    already.
    """
    with tempfile.TemporaryDirectory(prefix="hybrid_jax-") as scratch, _Gathered(Path(scratch) / "rows") as gathered:
        builder = AlignedTfds(
            records=gathered,
            split=split,
            kinds=kinds,
            data_dir=out_dir,
            config=tfds.core.BuilderConfig(name=name),
            file_format="array_record",
        )
        folder = Path(builder.data_dir)
        if folder.exists():
            raise DataError(f"{folder}: exists already, remove it or choose another folder or dataset name")
        gathered.add(rows)  # before TFDS starts: a bad row leaves nothing behind, and its error is not wrapped
        builder.download_and_prepare(file_format="array_record")
    return folder


class _Gathered(Iterable[list[Row]]):
    """Rows in a temporary database, iterated record by record."""

    def __init__(self, file: Path):
        self._database = sqlite3.connect(file)
        self._database.execute("CREATE TABLE rows (id TEXT, fields TEXT)")

    def add(self, rows: Iterable[Row]) -> None:
        pairs = ((row.id, json.dumps(asdict(row))) for row in rows)
        self._database.executemany("INSERT INTO rows VALUES (?, ?)", pairs)

    def __iter__(self) -> Iterator[list[Row]]:
        stored = self._database.execute("SELECT id, fields FROM rows ORDER BY id, rowid")
        for _, record in groupby(stored, key=lambda pair: pair[0]):
            yield [_row_from_json(fields) for _, fields in record]

    def __enter__(self) -> "_Gathered":
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()


def _row_from_json(text: str) -> Row:
    fields = json.loads(text)
    return Row(**{**fields, **{name: tuple(Passage(**passage) for passage in fields[name]) for name in _ROW_PASSAGES}})


def find_prepared(folder: Path) -> Path:
    """The folder of the prepared dataset (that of its dataset_info.json) at or below `folder`; the highest version.

    Raises DataError if there is none, or more than one dataset or config.
    """
    prepared = sorted(path.parent for path in folder.rglob("dataset_info.json")) if folder.is_dir() else []
    datasets = sorted({path.parent for path in prepared if path != folder})
    if folder in prepared:
        return folder
    if not prepared:
        raise DataError(
            f"{folder}: no prepared TFDS dataset (no dataset_info.json), prepare it there on a machine with a network: "
            f"tfds build NAME --file_format=array_record --data_dir=…"
        )
    if len(datasets) > 1:
        names = ", ".join(str(path.relative_to(folder)) for path in datasets[:12])
        raise DataError(f"{folder}: holds several TFDS datasets, name one of them: {names}")
    return max(prepared, key=lambda path: [int(part) if part.isdigit() else -1 for part in path.name.split(".")])


def kinds_of(folder: Path) -> tuple[Kind, ...]:
    """The kinds of pairs that a prepared dataset can give: those it was written with, and for one of TFDS's own all."""
    written = (_builder(folder).info.metadata or {}).get(_KINDS, KINDS)
    return tuple(kind for kind in KINDS if kind in written)


def open_examples(folder: Path, split: str) -> Sequence[dict[str, Any]]:
    """The examples of a prepared dataset, read from disk one by one at any index. Raises DataError."""
    builder = _builder(folder)
    splits = sorted(builder.info.splits)
    if split.partition("[")[0] not in splits:
        raise DataError(f"{folder}: there is no split {split!r}, set the dataset's split to one of {', '.join(splits)}")
    try:
        return builder.as_data_source(split)
    except ValueError as error:
        raise DataError(
            f"{folder}: split {split!r} cannot be read ({_one_line(error)}), write e.g. train[:10%]"
        ) from error


def read(folder: Path, split: str, lang: str | None, place: Callable[[str], Place], on_bad: OnBadRow) -> Iterator[Row]:
    """All rows of a prepared dataset, in language `lang`, or if None in the one that the dataset names.

    `place(where)` returns the `Place` that checks the texts of an example.
    """
    builder = _builder(folder)
    features = set(builder.info.features or ())
    name = "/".join(filter(None, (builder.info.name, builder.info.config_name)))
    if features >= _FEATURES:
        if lang is not None:
            raise DataError(
                f"tfds:{name}: the dataset has lang {lang!r}, but these rows name their own: leave lang out"
            )
        for example in open_examples(folder, split):
            yield from rows_of_record(example)
        return
    if features >= {"id", *_ROW_TEXTS}:
        raise DataError(
            f"{folder}: written by an older version of hybrid_jax, which kept one positive per query, write it again "
            f"(python -m hybrid_jax.data prepare --tfds OUT_DIR)"
        )
    if not features >= {"id", "title", "context", "question"}:
        raise DataError(
            f"{folder}: features {', '.join(sorted(features))} are neither a QA dataset's (id, title, context, "
            f"question) nor aligned records, export it as JSONL instead"
        )
    for i, example in enumerate(open_examples(folder, split)):
        here = place(f"tfds:{name}/{split}:{i}")
        try:
            yield _qa_row(example, here, lang or _language(builder.info.name, builder.info.config_name, split, example))
        except (DataError, UnicodeDecodeError) as error:
            on_bad(error if isinstance(error, DataError) else here.bad(f"invalid UTF-8 ({error.reason}), rebuild it"))


def rows_of_record(example: dict[str, Any]) -> list[Row]:
    """The rows of one of our own examples."""
    columns = {name: [value.decode() or None for value in example[name]] for name in _ROW_TEXTS}
    negatives, further_positives = (_passages_of_rows(example, name) for name in _ROW_PASSAGES)
    return [
        Row(
            id=example["id"].decode(),
            lang=columns["lang"][i] or "",
            query=columns["query"][i],
            passage=columns["passage"][i],
            title=columns["title"][i],
            negatives=negatives[i],
            passage_id=columns["passage_id"][i],
            where=columns["where"][i] or "",
            further_positives=further_positives[i],
        )
        for i in range(len(columns["lang"]))
    ]


def _passages_of_rows(example: dict[str, Any], name: str) -> list[tuple[Passage, ...]]:
    """The negatives or further positives of each row of an example."""
    columns = ([value.decode() for value in example[f"{name}_{part}"]] for part in _PASSAGE_TEXTS)
    passages = (Passage(text, title or None, id or None) for text, title, id in zip(*columns, strict=True))
    return [tuple(islice(passages, int(count))) for count in example[f"{name}_per_row"]]


def _qa_row(example: dict[str, Any], place: Place, lang: str | None) -> Row:
    record = {name: example[name].decode() for name in ("id", "title", "context", "question")}
    return Row(
        id=place.record_id(record),
        lang=place.file_language() if lang is None else lang,
        query=place.text(record, "question"),
        passage=place.text(record, "context"),
        title=place.title(record),
        where=place.where,
    )


def _language(name: str, config: str | None, split: str, example: dict[str, Any]) -> str | None:
    """The language of an example of one of TFDS's QA datasets; None if it is not known."""
    if name == "squad":
        return "en"
    if name == "tydi_qa":
        translated = split.partition("[")[0].rpartition("translate-train-")[2]
        return translated if "translate-train-" in split else _TYDI_LANGUAGES.get(example["id"].decode().split("-")[0])
    if name == "xquad" and split.startswith("translate-test"):
        return "en"  # XTREME's translations of the other languages into English
    return language_tag(config) if config and is_language_key(config) else None


def _builder(folder: Path) -> Any:
    builder = tfds.builder_from_directory(folder)
    if (format := builder.info.file_format) is not tfds.core.FileFormat.ARRAY_RECORD:
        raise DataError(
            f"{folder}: stored as {format.value if format else 'unknown'}, which needs TensorFlow or ignores split "
            f"slices, prepare it again with --file_format=array_record"
        )
    return builder


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
