"""Any corpus, queries and judgments in BEIR's files, with an optional language on each line.

Lines of corpus.jsonl have "_id", "title", "text" and perhaps "lang", those of queries.jsonl "_id", "text" and perhaps
"lang"; qrels have BEIR's or TREC's columns.

    FOLDER/corpus.jsonl    FOLDER/queries.jsonl    FOLDER/qrels/test.tsv        (each .jsonl may be .jsonl.gz)

A candidate's text is its title, a space and its text, as in BEIR and mteb. Queries without judgments are left out.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hybrid_jax.data.documents import duplicate_error, optional_language, read_documents, read_lines_of_objects
from hybrid_jax.data.duplicates import Duplicate
from hybrid_jax.data.records import DataError
from hybrid_jax.disk.files import nearest_folder
from hybrid_jax.eval.tasks.base import Candidate, Query, RetrievalTask, SearchTask
from hybrid_jax.eval.tasks.files import read_lines, sha256
from hybrid_jax.eval.tasks.survey import how_ids_differ, nothing_in_common

FIX = "a BEIR folder holds corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv"
UNKNOWN_LANGUAGE = "und"
"""ISO 639 for "undetermined": the language of a line without "lang"."""

Qrels = dict[str, dict[str, int]]

_GRADE = re.compile(r"-?[0-9]{1,9}")


def beir(path: Path) -> SearchTask:
    """A BEIR data set, streamed from disk, with graded judgments.

    `path` is the folder, whose qrels/test.tsv (or only qrels file) is read, or one qrels file in it
    (FOLDER/qrels/dev.tsv). As in BEIR (`ignore_identical_ids`), the document with the query's own id is left out of the
    query's ranking: in several of its data sets the queries are documents themselves.
    """
    folder, qrels = _locate(path)
    return search_task(
        folder.name, _data_file(folder, "corpus"), _data_file(folder, "queries"), qrels, drop_same_id=True
    )


def pooled(path: Path) -> RetrievalTask:
    """The same files, read into memory and ranked in full: with "lang" on each line, a measure of language bias.

    For corpora of up to some 100,000 documents. All documents of grade 1 or more are equally relevant, so that nDCG
    differs from `beir`'s where grades differ, and documents with a query's id stay in its ranking. Raises DataError for
    a relevant document that the corpus lacks.
    """
    folder, qrels_path = _locate(path)
    corpus_path, queries_path = _data_file(folder, "corpus"), _data_file(folder, "queries")
    qrels = read_qrels(qrels_path)
    candidates = tuple(read_corpus(corpus_path))
    rows: dict[str, int] = {}
    for row, candidate in enumerate(candidates):
        if rows.setdefault(candidate.id, row) != row:
            first = candidates[rows[candidate.id]].where
            raise duplicate_error(Duplicate(candidate.id, first, candidate.where), "document")
    judged = {name for graded in qrels.values() for name in graded}
    if judged and not judged & rows.keys():
        raise DataError(nothing_in_common(str(corpus_path), rows, judged))
    relevant = {query: [name for name, grade in graded.items() if grade > 0] for query, graded in qrels.items()}
    missing = [(query, name) for query, names in relevant.items() for name in names if name not in rows]
    if missing:
        raise DataError(
            f"{qrels_path}: document {missing[0][1]!r}, relevant to query {missing[0][0]!r}, is not in {corpus_path} "
            f"({len(missing)} such); {FIX}"
        )
    answerable = [query for query, names in relevant.items() if names]
    if not answerable:
        raise DataError(f"{qrels_path}: no judgment has a grade above 0, so no query has a relevant document; {FIX}")
    queries = read_queries(queries_path, answerable)
    left_out = len(relevant) - len(answerable)
    return RetrievalTask(
        name=f"pooled:{folder.name}",
        queries=queries,
        candidates=candidates,
        relevance=np.array(
            [(row, rows[name]) for row, query in enumerate(queries) for name in relevant[query.id]], dtype=np.int64
        ).reshape(-1, 2),
        candidate_texts=("passage",),
        about=f"{folder.name}, all languages in one pool"
        + (f"; {left_out:,} judged queries without a relevant document are left out" if left_out else ""),
        sources={file.name: sha256(file) for file in (corpus_path, queries_path, qrels_path)},
    )


def search_task(
    name: str,
    corpus: Path,
    queries: Path,
    qrels: Path,
    *,
    language: str = UNKNOWN_LANGUAGE,
    drop_same_id: bool = False,
    size: int | None = None,
) -> SearchTask:
    """A streamed task of three files of these layouts; `language` is the language of lines without "lang"."""
    judged = read_qrels(qrels)
    return SearchTask(
        name=name,
        queries=read_queries(queries, list(judged), language),
        corpus=lambda: read_corpus(corpus, language),
        qrels=judged,
        about=f"{name}, {qrels.name}",
        sources={file.name: sha256(file) for file in (corpus, queries, qrels)},
        size=size,
        drop_same_id=drop_same_id,
    )


def read_corpus(path: Path, language: str = UNKNOWN_LANGUAGE) -> Iterator[Candidate]:
    """The documents of a corpus.jsonl, one at a time; "docid" (MIRACL) or "id" may stand for "_id"."""
    for document in read_documents([path]):
        text = f"{document.title} {document.text}".strip()
        yield Candidate(document.id, document.language or language, (text,), document.where)


def read_queries(path: Path, ids: list[str], language: str = UNKNOWN_LANGUAGE) -> tuple[Query, ...]:
    """The queries of a queries.jsonl with these ids, in the file's order.

    Raises DataError if one is missing, blank or there twice, and for any line whose fields have other types. Blank
    queries that are not requested are not looked at.
    """
    requested = set(ids)
    queries: list[Query] = []
    others: list[str] = []
    for place, record in read_lines_of_objects(path):
        query_id = place.identifier(place.get(record, "_id"), "_id")
        text = place.exact(record, "text", blank=query_id not in requested)
        query_language = optional_language(record, place) or language
        if query_id in requested:
            queries.append(Query(query_id, query_language, text, place.where))
        else:
            others.append(query_id)
    missing = sorted(requested - {query.id for query in queries})
    if missing:
        difference = how_ids_differ(others, missing).format("the queries", "the qrels")
        raise DataError(
            f"{path}: no query {missing[0]!r}, which the qrels judge ({len(missing)} such); {difference or FIX}"
        )
    return tuple(queries)


def read_qrels(path: Path) -> Qrels:
    """{query id: {document id: grade}} of BEIR's three columns (with or without their heading) or TREC's four."""
    lines, _ = read_lines(path, FIX)
    qrels: Qrels = {}
    for number, line in enumerate(lines, start=1):
        columns = line.split("\t") if line.count("\t") == 2 else line.split()
        if not columns or (number == 1 and columns[0] == "query-id"):
            continue
        if len(columns) not in (3, 4) or not _GRADE.fullmatch(columns[-1]) or not all(map(str.strip, columns)):
            raise DataError(
                f"{path}:{number}: {line[:60]!r} is neither `query<tab>document<tab>grade` nor TREC's "
                "`query 0 document grade`, with a whole number as grade: correct the line"
            )
        query, document, grade = columns[0], columns[-2], int(columns[-1])
        if qrels.setdefault(query, {}).setdefault(document, grade) != grade:
            raise DataError(f"{path}:{number}: document {document!r} has two grades for query {query!r}: keep one")
    return qrels


def _locate(path: Path) -> tuple[Path, Path]:
    """The folder and its qrels file, from the path of either."""
    if path.is_file():
        return (path.parent.parent if path.parent.name == "qrels" else path.parent).resolve(), path
    if not path.is_dir():
        raise DataError(f"{path}: no such folder{nearest_folder(path)}; {FIX}")
    files = sorted([*(path / "qrels").glob("*.tsv"), *path.glob("qrels*.tsv"), *path.glob("qrels*.txt")])
    test = [file for file in files if file.name == "test.tsv"]
    if not files:
        raise DataError(f"{path}: no qrels in it; {FIX}")
    if len(files) > 1 and not test:
        names = ", ".join(str(file.relative_to(path)) for file in files)
        raise DataError(f"{path}: which judgments? It has {names}: give one of these files in place of the folder")
    return path.resolve(), (test or files)[0]


def _data_file(folder: Path, name: str) -> Path:
    for file in (folder / f"{name}.jsonl", folder / f"{name}.jsonl.gz"):
        if file.is_file():
            return file
    raise DataError(f"{folder}: no {name}.jsonl in it; {FIX}")
