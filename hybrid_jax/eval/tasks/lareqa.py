"""XQuAD-R and MLQA-R (LAReQA, Roy et al. 2020): retrieve the sentence that answers a question, in any language."""

from pathlib import Path
from typing import Any

import numpy as np

from hybrid_jax.data.fields import show
from hybrid_jax.data.records import DataError
from hybrid_jax.eval.tasks.base import Candidate, Query, RetrievalTask
from hybrid_jax.eval.tasks.files import find, pairs_of_same_id, read_json
from hybrid_jax.eval.tasks.squad_json import Paragraph, Question, paragraphs

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

    A pair of languages has only the questions that exist in both.
    """
    # Google removed MLQA-R from the repository's head; this is the last commit that holds it, and XQuAD-R as well.
    get = f"git clone {LAREQA} && git -C lareqa checkout 354d67d"
    return _lareqa("mlqa_r", data_dir, "mlqa-r", MLQA_R, get)


def _lareqa(name: str, data_dir: Path, folder: str, counts: dict[str, tuple[int, int]], get: str) -> RetrievalTask:
    """All sentences are candidates. A question's answer sentence is relevant to the question in every language."""
    fix = f"get the official files with `{get}` and pass `--data-dir lareqa`"
    queries: list[Query] = []
    candidates: list[Candidate] = []
    answers: list[int] = []
    sources: dict[str, str] = {}
    for language, expected in counts.items():
        path = find(data_dir, (f"{folder}/{language}.json",), fix)
        content, sources[f"{folder}/{language}.json"] = read_json(path, fix)
        new_queries, new_candidates, new_answers = _squad(content, language, path, fix)
        if (len(new_queries), len(new_candidates)) != expected:
            raise DataError(
                f"{path}: {len(new_queries)} questions and {len(new_candidates)} sentences, but the official file has "
                f"{expected[0]} and {expected[1]}; {fix}"
            )
        answers += [len(candidates) + row for row in new_answers]
        queries += new_queries
        candidates += new_candidates
    ids = [query.id for query in queries]
    relevance = pairs_of_same_id(ids, ids)
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


def _squad(content: Any, language: str, path: Path, fix: str) -> tuple[list[Query], list[Candidate], list[int]]:
    """Questions, sentences, and for each question the row of the sentence with start <= answer_start < end.

    A sentence and its paragraph are joined as in the official code (google-research/xtreme, utils_lareqa.py): without a
    space, and without line breaks.
    """
    queries: list[Query] = []
    candidates: list[Candidate] = []
    answers: list[int] = []
    for number, paragraph in enumerate(paragraphs(content, path, fix)):
        sentences, breaks = _sentences(paragraph)
        for question in paragraph.questions:
            queries.append(Query(question.id, language, question.text, question.place.where, paragraph=f"{number:04d}"))
            start = _answer_start(question)
            containing = [row for row, (first, end) in enumerate(breaks) if first <= start < end]
            if len(containing) != 1:
                raise question.place.bad(f"its answer (at {start}) is in {len(containing)} sentences; {fix}")
            answers.append(len(candidates) + containing[0])
        for row, sentence in enumerate(sentences):
            texts = ((sentence + paragraph.context).replace("\n", ""), sentence)
            candidates.append(Candidate(f"{number:04d}-{row:03d}", language, texts, paragraph.place.where))
    return queries, candidates, answers


def _sentences(paragraph: Paragraph) -> tuple[list[str], list[tuple[int, int]]]:
    """A paragraph's sentences, and where each begins and ends, in characters."""
    place = paragraph.place
    sentences, breaks = (place.get(paragraph.fields, key) for key in ("sentences", "sentence_breaks"))
    if not isinstance(sentences, list):
        raise place.bad(f"'sentences' must be a list of texts, got {show(sentences)}; {place.if_missing}")
    if not isinstance(breaks, list) or [_is_span(span) for span in breaks] != [True] * len(sentences):
        raise place.bad(
            f"'sentence_breaks' must have a [start, end] for each of {len(sentences)} sentences, got {show(breaks)}; "
            f"{place.if_missing}"
        )
    texts = [place.check_text(sentence, f"sentences[{row}]") for row, sentence in enumerate(sentences)]
    return texts, [(first, end) for first, end in breaks]


def _is_span(value: Any) -> bool:
    return isinstance(value, list) and [type(end) for end in value] == [int, int]


def _answer_start(question: Question) -> int:
    answers = question.place.objects(question.fields, "answers")
    start = answers[0].get("answer_start") if answers else None
    if type(start) is not int:
        raise question.place.bad(
            f"'answer_start' of its first answer must be a whole number, got {show(start)}; {question.place.if_missing}"
        )
    return start
