"""TyDiQA-GoldP as retrieval (Clark et al. 2020): questions written in nine languages, and their gold passages.

There is no standard retrieval task on this data. As in the only precedent that we know (the Thai Sentence Vector
Benchmark), the queries are the dev questions and the candidates the distinct gold passages of the dev set, with exactly
one relevant. Nothing is translated: "monolingual" is the pool of the question's own language, "multilingual" the pool
of all nine, and the drop from the first to the second is the task's measure of language bias. Cross-lingual figures and
rank distances do not exist.
"""

from pathlib import Path

import numpy as np

from hybrid_jax.data.documents import read_lines_of_objects
from hybrid_jax.data.records import DataError
from hybrid_jax.eval.tasks.base import Candidate, Query, RetrievalTask
from hybrid_jax.eval.tasks.files import find, pairs_of_same_id, read_json, sha256, text_id
from hybrid_jax.eval.tasks.squad_json import paragraphs

FIX = (
    "get tydiqa-goldp-v1.1-dev.json (https://github.com/google-research-datasets/tydiqa, gold passage task), or the "
    "same per language from the XTREME download, and pass `--data-dir` the folder it lies in"
)
FLAT = ("tydiqa_goldp_dev.jsonl.gz", "tydiqa_goldp_dev.jsonl")
OFFICIAL = ("tydiqa-goldp-v1.1-dev.json", "tydiqa/tydiqa-goldp-v1.1-dev.json")
PER_LANGUAGE = ("tydiqa-goldp-v1.1-dev", "tydiqa/tydiqa-goldp-v1.1-dev")
# What the official ids start with ("arabic-2387335860751143628-1"), and questions and distinct passages of the dev set.
NAMES = {
    **{"arabic": "ar", "bengali": "bn", "english": "en", "finnish": "fi", "indonesian": "id"},
    **{"korean": "ko", "russian": "ru", "swahili": "sw", "telugu": "te"},
}
COUNTS = {
    **{"ar": (921, 842), "bn": (113, 105), "en": (440, 429), "fi": (782, 634), "id": (565, 514)},
    **{"ko": (276, 228), "ru": (812, 778), "sw": (499, 357), "te": (669, 601)},
}

_Question = tuple[str, str, str, str, str]  # id, language, question, passage, where


def tydiqa(data_dir: Path) -> RetrievalTask:
    """5,077 questions and 4,488 passages in 9 languages; each question has one relevant passage, in its language.

    Read from `data_dir` (or its eval/), the first of: the official tydiqa-goldp-v1.1-dev.json; the XTREME folder
    tydiqa-goldp-v1.1-dev/ with tydiqa.goldp.LANG.dev.json; tydiqa_goldp_dev.jsonl[.gz] with one
    {"id", "lang", "question", "passage"} per line.
    """
    path = find(data_dir, (*OFFICIAL, *PER_LANGUAGE, *FLAT), FIX)
    if path.is_dir():
        files = [find(path, (f"tydiqa.goldp.{language}.dev.json",), FIX) for language in COUNTS]
        rows = [row for file in files for row in _document(file)]
    else:
        files = [path]
        rows = _document(path) if path.name == OFFICIAL[0] else _lines(path)
    passages = {(language, passage): None for _, language, _, passage, _ in rows}
    for language, expected in COUNTS.items():
        counts = (sum(row[1] == language for row in rows), sum(name == language for name, _ in passages))
        if counts != expected:
            raise DataError(
                f"{path}: {counts[0]} questions and {counts[1]} passages in {language}, but the official dev set has "
                f"{expected[0]} and {expected[1]}; {FIX}"
            )
    relevance = pairs_of_same_id([f"{row[1]} {row[3]}" for row in rows], [" ".join(key) for key in passages])
    return RetrievalTask(
        name="tydiqa",
        queries=tuple(Query(*row[:3], where=row[4], paragraph=text_id(row[3])) for row in rows),
        candidates=tuple(Candidate(text_id(passage), language, (passage,)) for language, passage in passages),
        relevance=relevance[np.lexsort(relevance.T[::-1])],
        candidate_texts=("passage",),
        about="TyDiQA-GoldP dev: the gold passage among those of its language (Mo.) and of all nine (Mul.)",
        sources={str(file.relative_to(path.parent)): sha256(file) for file in files},
    )


def _document(path: Path) -> list[_Question]:
    """The SQuAD-like layout; a question's language is the first word of its id."""
    content, _ = read_json(path, FIX)
    rows: list[_Question] = []
    for paragraph in paragraphs(content, path, FIX):
        for question in paragraph.questions:
            name = question.id.split("-")[0]
            if name not in NAMES:
                raise question.place.bad(f"its id does not start with one of {', '.join(NAMES)}; {FIX}")
            rows.append((question.id, NAMES[name], question.text, paragraph.context, question.place.where))
    return rows


def _lines(path: Path) -> list[_Question]:
    rows: list[_Question] = []
    for place, record in read_lines_of_objects(path):
        question_id = place.identifier(place.get(record, "id"), "id")
        language = place.language(place.get(record, "lang"), "lang")
        if language not in COUNTS:
            raise place.bad(f"'lang' is {language!r}, but TyDiQA has {', '.join(COUNTS)}; {FIX}")
        question, passage = place.exact(record, "question"), place.exact(record, "passage")
        rows.append((question_id, language, question, passage, place.where))
    return rows
