"""Which format the rows of a file have: what the config says, or else what the rows show."""

from itertools import islice
from pathlib import Path
from typing import Any

from hybrid_jax.data import tables
from hybrid_jax.data.columns import check_read, renamed, suggestion
from hybrid_jax.data.dataset import DatasetConfig, check_kinds
from hybrid_jax.data.fields import Place, Repairs
from hybrid_jax.data.formats import ANCHORS, BITEXTS, LINE_FORMATS, Format, is_language_text
from hybrid_jax.data.records import DataError

_LOOKED_AT = 100
"""Of how many rows one has to show the format."""


def format_of(file: Path, config: DatasetConfig) -> Format:
    """The file's format. Raises DataError if it does not fit the config."""
    name = config.format
    if name == "auto":
        name = _shown_format(file, config)
    try:
        check_kinds(config, name)
        check_read(config.columns, name)
    except ValueError as error:
        raise DataError(f"{file}:1: {error}") from None
    if config.lang is not None and name in BITEXTS:
        raise DataError(
            f"{file}:1: dataset {config.name!r} has lang {config.lang!r}, but the rows of format {name} name "
            f"their own: leave lang out"
        )
    if name == "squad" and config.ids == "line":
        raise DataError(
            f"{file}:1: dataset {config.name!r} has ids: line, but this is squad (one object): leave it out"
        )
    return name


def _shown_format(file: Path, config: DatasetConfig) -> Format:
    """The format that the first rows show: a bad one at the top, which may be skipped, does not hide those below it."""
    here = Place(tables.places(file)(1), "", Repairs(), noun="column" if tables.is_table(file) else "key")
    problem: DataError | None = None
    for record in islice(tables.good_records(file), _LOOKED_AT):
        try:
            return detect_format(renamed(record, config.columns, here), file)
        except DataError as error:
            problem = problem or error
    if problem:
        raise problem
    return detect_format(None, file)


def detect_format(first: dict[str, Any] | None, path: Path) -> Format:
    """The format of a file, recognised by its first object. Raises DataError if it cannot be told.

    `first` is None if no line of the file is an object. Such a file is squad if it is called .json; else it counts as
    aligned, and its bad lines are reported when it is read.
    """
    if first is None:
        return "squad" if path.name.removesuffix(".gz").endswith(".json") else "aligned"
    keys = first.keys()
    if {"l1", "l2", "s1", "s2"} <= keys:
        return "bitext_pairs"
    if isinstance(first.get("data"), list):
        return "squad"
    if "query" in keys and ("pos" in keys or "positive_passages" in keys):
        return "tevatron"
    if "positive" in keys and not keys.isdisjoint(ANCHORS):
        return "triplets"
    if "question" in keys and not keys.isdisjoint(("lang", "passage", "sentence")):
        return "qa"
    if {"query", "passage"} <= keys or ("lang" in keys and not keys.isdisjoint(("query", "passage"))):
        return "aligned"
    if any(is_language_text(key, value) for key, value in first.items()):
        if "answers" in keys:
            raise DataError(
                f"{path}:1: questions and answers in many languages but no passages (MKQA): nothing to retrieve here; "
                f"to learn from the questions as translations of one another set format: bitext"
            )
        return "bitext"
    shown = ", ".join(list(keys)[:12]) or "none"
    names = ", ".join([*LINE_FORMATS, "squad"])
    raise DataError(
        f"{path}:1: cannot tell the format from the keys ({shown}), say which is which, as in "
        f"{suggestion(list(keys))}, or set the dataset's format: {names}"
    )
