"""MIRACL (Zhang et al. 2023): Wikipedia passages in 18 languages, searched with questions of the same language.

* `miracl`: all passages of a language, up to 32,893,221. They stream from the official .jsonl.gz files.
* `miracl_hn`: mteb's MIRACLRetrievalHardNegatives, a pool of the best 250 of three systems for each of at most 1,000
  queries. Its figures are higher (nDCG@10 of LaBSE: .1749 instead of .1352): never put the two in one column.

A passage's text is its title, a space and its text, as in mteb (Pyserini's encoders differ in the separator).
Unjudged passages count as not relevant. A passage that happens to have the query's id is *kept*: passages and queries
share ids by accident, and dropping such passages (Pyserini's --remove-query) lowers the figures, as BGE-M3's authors
report.
"""

from collections.abc import Iterator
from pathlib import Path

from hybrid_jax.data.records import DataError
from hybrid_jax.eval.tasks.base import Candidate, Query, SearchTask
from hybrid_jax.eval.tasks.beir import read_corpus, read_qrels, search_task
from hybrid_jax.eval.tasks.files import find, read_lines, sha256

FIX = (
    "get the folders of https://huggingface.co/datasets/miracl/miracl and of miracl/miracl-corpus into DATA_DIR/miracl/"
)
HARD_NEGATIVES_FIX = (
    "write https://huggingface.co/datasets/mteb/MIRACLRetrievalHardNegatives as BEIR folders "
    "DATA_DIR/miracl_hn/LANG/ (corpus.jsonl, queries.jsonl, qrels/dev.tsv)"
)
# Dev queries, their relevant passages, and the passages of the corpus; and of the hard negatives: queries, relevant
# passages, pool. From MIRACL's README and from mteb's descriptive statistics, which agree.
# fmt: off
COUNTS = {
    "ar": (2896, 5658, 2_061_414), "bn": (411, 863, 297_265), "de": (305, 811, 15_866_222),
    "en": (799, 2326, 32_893_221), "es": (648, 2987, 10_373_953), "fa": (632, 1314, 2_207_172),
    "fi": (1271, 2447, 1_883_509), "fr": (343, 731, 14_636_953), "hi": (350, 752, 506_264),
    "id": (960, 3088, 1_446_315), "ja": (860, 1790, 6_953_614), "ko": (213, 547, 1_486_752),
    "ru": (1252, 3560, 9_543_918), "sw": (482, 910, 131_924), "te": (828, 854, 518_079),
    "th": (733, 1343, 542_166), "yo": (119, 144, 49_043), "zh": (393, 994, 4_934_368),
}
HARD_NEGATIVES = {
    "ar": (1000, 1982, 192_103), "bn": (411, 863, 297_265), "de": (305, 811, 71_277),
    "en": (799, 2326, 178_768), "es": (648, 2987, 146_750), "fa": (632, 1314, 133_596),
    "fi": (1000, 1918, 194_415), "fr": (343, 731, 75_357), "hi": (350, 752, 63_066),
    "id": (960, 3088, 168_173), "ja": (860, 1790, 185_319), "ko": (213, 547, 43_293),
    "ru": (1000, 2833, 219_114), "sw": (482, 910, 131_924), "te": (828, 854, 101_961),
    "th": (733, 1343, 116_649), "yo": (119, 144, 49_043), "zh": (393, 994, 81_309),
}
# fmt: on
LANGUAGES = tuple(COUNTS)


def miracl(data_dir: Path, language: str) -> SearchTask:
    """The dev queries of a language against its whole corpus.

    Reads, from `data_dir`, its miracl/ or its eval/: [miracl-v1.0-LANG/]topics/topics.miracl-v1.0-LANG-dev.tsv, the
    qrels beside it, and miracl-corpus-v1.0-LANG/docs-*.jsonl.gz. The corpus is not hashed (it has gigabytes); the
    number of its passages is checked when it has been read.
    """
    inner = f"miracl-v1.0-{language}"
    topics = find(data_dir, _places(f"topics/topics.{inner}-dev.tsv", inner), FIX)
    qrels_path = find(data_dir, _places(f"qrels/qrels.{inner}-dev.tsv", inner), FIX)
    corpus = find(data_dir, _places(f"miracl-corpus-v1.0-{language}", "miracl-corpus"), FIX)
    task = SearchTask(
        name=f"miracl_{language}",
        queries=_topics(topics, language),
        corpus=lambda: _passages(corpus, language),
        qrels=read_qrels(qrels_path),
        about=f"MIRACL dev in {language}, the whole corpus",
        sources={file.name: sha256(file) for file in (topics, qrels_path)},
        size=COUNTS[language][2],
    )
    _check(task, COUNTS[language], qrels_path, FIX)
    return task


def miracl_hn(data_dir: Path, language: str) -> SearchTask:
    """mteb's pool of hard negatives for a language: miracl_hn/LANG/, a BEIR folder. Not comparable with `miracl`."""
    folder = find(data_dir, (f"miracl_hn/{language}",), HARD_NEGATIVES_FIX)
    corpus = find(folder, ("corpus.jsonl", "corpus.jsonl.gz"), HARD_NEGATIVES_FIX)
    queries = find(folder, ("queries.jsonl", "queries.jsonl.gz"), HARD_NEGATIVES_FIX)
    qrels = find(folder, ("qrels/dev.tsv",), HARD_NEGATIVES_FIX)
    size = HARD_NEGATIVES[language][2]
    task = search_task(f"miracl_hn_{language}", corpus, queries, qrels, language=language, size=size)
    _check(task, HARD_NEGATIVES[language], qrels, HARD_NEGATIVES_FIX)
    return task


def _check(task: SearchTask, expected: tuple[int, int, int], path: Path, fix: str) -> None:
    counts = (len(task.queries), sum(grade > 0 for graded in task.qrels.values() for grade in graded.values()))
    if counts != expected[:2]:
        raise DataError(
            f"{path}: {counts[0]} queries with {counts[1]} relevant passages, but the official files have "
            f"{expected[0]} with {expected[1]}; {fix}"
        )


def _places(name: str, folder: str) -> tuple[str, ...]:
    return (f"miracl/{folder}/{name}", f"miracl/{name}", f"{folder}/{name}", name)


def _topics(path: Path, language: str) -> tuple[Query, ...]:
    lines, _ = read_lines(path, FIX)
    queries: list[Query] = []
    for number, line in enumerate(lines, start=1):
        name, tab, text = line.partition("\t")
        if not (tab and name.strip() and text.strip()):
            raise DataError(f"{path}:{number}: {line[:60]!r} is not `query id<tab>query`; {FIX}")
        queries.append(Query(name, language, text, f"{path}:{number}"))
    return tuple(queries)


def _passages(folder: Path, language: str) -> Iterator[Candidate]:
    """All files of a corpus, docs-0 first and docs-10 after docs-9."""
    files = sorted(folder.glob("docs-*.jsonl*"), key=lambda file: (len(file.name.split(".")[0]), file.name))
    if not files:
        raise DataError(f"{folder}: no docs-*.jsonl.gz in it; {FIX}")
    for file in files:
        yield from read_corpus(file, language)
