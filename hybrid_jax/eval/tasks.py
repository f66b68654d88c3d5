"""Retrieval tasks: which queries, which candidates, which of them are relevant.

Knows: the official rules of XQuAD-R and MLQA-R (LAReQA, Roy et al. 2020) and the shape of the demo corpus. Does not
know: models, metrics, reports. A new task is a function that returns a `RetrievalTask`.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from hybrid_jax.data.corpora import demo as demo_corpus
from hybrid_jax.data.records import DataError


@dataclass(frozen=True, slots=True)
class Query:
    """One question in one language. The same `id` in another language is its translation."""

    id: str
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """One thing to retrieve. `texts` holds one text for each of the task's `candidate_texts`, in that order."""

    id: str
    language: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class RetrievalTask:
    """A benchmark: `relevance` holds (query row, candidate row) pairs; every query has at least one.

    `candidate_texts` names the ways to write a candidate, the headline one first. `sources` maps each file the task was
    read from to its sha256, `about` says in a line what the task is.
    """

    name: str
    queries: tuple[Query, ...]
    candidates: tuple[Candidate, ...]
    relevance: Int[np.ndarray, "pairs 2"]
    candidate_texts: tuple[str, ...]
    about: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.queries:
            raise DataError(f"task {self.name}: it has no queries, so there is nothing to measure")
        for side, rows in (("query", self.queries), ("candidate", self.candidates)):
            twice = [name for name, count in Counter((row.language, row.id) for row in rows).items() if count > 1]
            if twice:
                raise DataError(
                    f"task {self.name}: {side} {twice[0]} occurs more than once; ids are unique in a language"
                )
        if len(np.unique(self.relevance, axis=0)) != len(self.relevance):
            raise DataError(f"task {self.name}: the same (query, candidate) pair is listed twice as relevant")
        missing = np.setdiff1d(np.arange(len(self.queries)), self.relevance[:, 0])
        if len(missing):
            query = self.queries[missing[0]]
            raise DataError(f"task {self.name}: no candidate is relevant to query {query.id!r} ({query.language})")

    def texts(self, candidate_text: str) -> list[str]:
        """Every candidate written the way that `candidate_text` names."""
        if candidate_text not in self.candidate_texts:
            raise ValueError(
                f"task {self.name}: no candidate text {candidate_text!r}: use one of {self.candidate_texts}"
            )
        return [row.texts[self.candidate_texts.index(candidate_text)] for row in self.candidates]


WITH_PARAGRAPH, SENTENCE = "sentence+paragraph", "sentence"
LAREQA = "https://github.com/google-research-datasets/lareqa"
# Questions and sentences of each file, counted over all paragraphs without de-duplication.
# fmt: off
XQUAD_R = {
    "ar": (1190, 1222), "de": (1190, 1276), "el": (1190, 1234), "en": (1190, 1180), "es": (1190, 1215),
    "hi": (1190, 1244), "ru": (1190, 1219), "th": (1190, 852), "tr": (1190, 1167), "vi": (1190, 1209),
    "zh": (1190, 1196),
}
MLQA_R = {
    "ar": (517, 2545), "de": (512, 2362), "en": (1148, 6264), "es": (500, 1787), "hi": (507, 2426), "vi": (511, 2828),
    "zh": (504, 2322),
}
# fmt: on


def xquad_r(data_dir: Path) -> RetrievalTask:
    """XQuAD-R: 13,090 questions, 13,014 sentences, 11 languages; every question in all of them."""
    return _lareqa("xquad_r", data_dir, "xquad-r", XQUAD_R, f"git clone {LAREQA}")


def mlqa_r(data_dir: Path) -> RetrievalTask:
    """MLQA-R: 4,199 questions, 20,534 sentences, 7 languages; a question exists in 2 to 4 of them.

    So a cross-lingual pair has the questions that exist in both languages, and no others.
    """
    # Google removed MLQA-R from the repository's head; this is the last commit that holds it, and XQuAD-R as well.
    get = f"git clone {LAREQA} && git -C lareqa checkout 354d67d"
    return _lareqa("mlqa_r", data_dir, "mlqa-r", MLQA_R, get)


def demo() -> RetrievalTask:
    """The held-out part of the built-in corpus: a passage is relevant to its record's questions, in any language."""
    rows = [row for row in demo_corpus.rows("heldout") if row.query is not None and row.passage is not None]
    queries = tuple(Query(row.id, row.lang, row.query or "") for row in rows)
    candidates = tuple(Candidate(row.id, row.lang, (row.passage or "",)) for row in rows)
    digest = hashlib.sha256(json.dumps([(r.id, r.lang, r.query, r.passage) for r in rows]).encode()).hexdigest()
    return RetrievalTask(
        name="demo",
        queries=queries,
        candidates=candidates,
        relevance=_same_id([query.id for query in queries], [row.id for row in rows]),
        candidate_texts=("passage",),
        about="Held-out facts of the built-in demo corpus (Unicode CLDR)",
        sources={"demo corpus, heldout": digest},
    )


def _lareqa(name: str, data_dir: Path, folder: str, counts: dict[str, tuple[int, int]], get: str) -> RetrievalTask:
    """Candidates are all sentences; the answer sentence of a question is relevant to its id in every language."""
    fix = f"get the official files with `{get}` and pass `--data-dir lareqa`"
    queries: list[Query] = []
    candidates: list[Candidate] = []
    answers: list[int] = []
    sources: dict[str, str] = {}
    for language, expected in counts.items():
        path = _find(data_dir, folder, f"{language}.json", fix)
        content, sources[f"{folder}/{language}.json"] = _read(path, fix)
        try:
            new_queries, new_candidates, new_answers = _squad(content, language)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise DataError(f"{path}: damaged, {type(error).__name__}: {error}; {fix}") from error
        if (len(new_queries), len(new_candidates)) != expected:
            raise DataError(
                f"{path}: {len(new_queries)} questions and {len(new_candidates)} sentences, but the official file has "
                f"{expected[0]} and {expected[1]}; {fix}"
            )
        answers += [len(candidates) + row for row in new_answers]
        queries += new_queries
        candidates += new_candidates
    ids = [query.id for query in queries]
    relevance = _same_id(ids, ids)
    relevance[:, 1] = np.array(answers)[relevance[:, 1]]
    return RetrievalTask(
        name=name,
        queries=tuple(queries),
        candidates=tuple(candidates),
        relevance=relevance,
        candidate_texts=(WITH_PARAGRAPH, SENTENCE),
        about=f"Sentence retrieval in {len(counts)} languages by the official LAReQA rules",
        sources=sources,
    )


def _squad(content: Any, language: str) -> tuple[list[Query], list[Candidate], list[int]]:
    """Questions, sentences, and for each question the number of the sentence with start <= answer_start < end.

    With its paragraph a sentence is written as in the official code (google-research/xtreme, utils_lareqa.py): the two
    joined without a space, line breaks removed.
    """
    queries: list[Query] = []
    candidates: list[Candidate] = []
    answers: list[int] = []
    for number, paragraph in enumerate(p for article in content["data"] for p in article["paragraphs"]):
        breaks = paragraph["sentence_breaks"]
        for question in paragraph["qas"]:
            queries.append(Query(question["id"], language, question["question"]))
            start = question["answers"][0]["answer_start"]
            holding = [row for row, (first, end) in enumerate(breaks) if first <= start < end]
            if len(holding) != 1:
                raise ValueError(
                    f"the answer of question {question['id']!r} (at {start}) is in {len(holding)} sentences"
                )
            answers.append(len(candidates) + holding[0])
        for place, sentence in enumerate(paragraph["sentences"]):
            texts = ((sentence + paragraph["context"]).replace("\n", ""), sentence)
            candidates.append(Candidate(f"{number:04d}-{place:03d}", language, texts))
    return queries, candidates, answers


def _same_id(query_ids: Sequence[str], answer_ids: Sequence[str]) -> Int[np.ndarray, "pairs 2"]:
    """All pairs (i, j) with query_ids[i] == answer_ids[j]."""
    holders: dict[str, list[int]] = {}
    for j, name in enumerate(answer_ids):
        holders.setdefault(name, []).append(j)
    pairs = [(i, j) for i, name in enumerate(query_ids) for j in holders.get(name, [])]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _find(data_dir: Path, folder: str, file: str, fix: str) -> Path:
    for root in (data_dir, data_dir / "eval"):
        if (root / folder / file).is_file():
            return root / folder / file
    raise DataError(f"no file {data_dir / folder / file} (nor under {data_dir / 'eval'}): {fix}")


def _read(path: Path, fix: str) -> tuple[Any, str]:
    """The parsed JSON and the sha256 of the file."""
    raw = path.read_bytes()
    try:
        return json.loads(raw), hashlib.sha256(raw).hexdigest()
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else raw[: error.start].count(b"\n") + 1
        problem = error.msg if isinstance(error, json.JSONDecodeError) else "invalid UTF-8"
        raise DataError(f"{path}:{line}: {problem}: {fix}") from error
