"""XQuAD and MLQA as paragraph retrieval: find the paragraph that a question was asked about, by mteb's definition.

The definition of XQuADRetrieval and MLQARetrieval in mteb 2, checked against the counts and total text lengths that it
publishes (descriptive_stats):

* Queries are the distinct question texts, candidates the distinct paragraphs (no titles) *of one file*. A question
  asked about two paragraphs is one query with two relevant candidates. A query has the id of the last such question and
  belongs to that one's paragraph; a paragraph has the sha256 of its text.
* XQuAD: one file per language; texts are stripped of white space at their ends.
* MLQA: one file per pair, so the pool of a pair holds only the paragraphs whose question exists in the query's
  language; texts stay as they are. mteb names a pair context first: its "deu-eng" are English questions.

So mteb's XQuADRetrieval figure of a language is our *monolingual* one, and its MLQARetrieval figure of a pair is our
`pairs[question language][context language]`.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_jax.data.records import DataError
from hybrid_jax.eval.tasks.base import Candidate, Query, RetrievalTask
from hybrid_jax.eval.tasks.files import find, read_json, text_id
from hybrid_jax.eval.tasks.squad_json import paragraphs

XQUAD_LANGUAGES = ("ar", "de", "el", "en", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh")
XQUAD_FIX = "get the files with `git clone https://github.com/google-deepmind/xquad` and pass `--data-dir` its parent"
MLQA_LANGUAGES = ("ar", "de", "en", "es", "hi", "vi", "zh")
MLQA_FIX = "get MLQA_V1.zip from https://github.com/facebookresearch/MLQA, unzip it and pass `--data-dir` its parent"
# Questions of each pair of languages, the same in both directions; English has a question for every one of another
# language. Dev: counted in the files, and mteb's 15,747. Test: 16 of the 28 pairs were counted in files, the others
# are not verified against any; mteb's statistics list 1 or 2 questions fewer for the four Chinese pairs they name.
# fmt: off
MLQA_DEV = {
    "ar-ar": 517, "ar-de": 207, "ar-en": 517, "ar-es": 161, "ar-hi": 186, "ar-vi": 163, "ar-zh": 188,
    "de-de": 512, "de-en": 512, "de-es": 196, "de-hi": 163, "de-vi": 182, "de-zh": 190,
    "en-en": 1148, "en-es": 500, "en-hi": 507, "en-vi": 511, "en-zh": 504,
    "es-es": 500, "es-hi": 187, "es-vi": 189, "es-zh": 161,
    "hi-hi": 507, "hi-vi": 177, "hi-zh": 189, "vi-vi": 511, "vi-zh": 184, "zh-zh": 504,
}
MLQA_TEST = {
    "ar-ar": 5335, "ar-de": 1649, "ar-en": 5335, "ar-es": 1978, "ar-hi": 1831, "ar-vi": 2047, "ar-zh": 1912,
    "de-de": 4517, "de-en": 4517, "de-es": 1776, "de-hi": 1430, "de-vi": 1675, "de-zh": 1621,
    "en-en": 11590, "en-es": 5253, "en-hi": 4918, "en-vi": 5495, "en-zh": 5137,
    "es-es": 5253, "es-hi": 1723, "es-vi": 2018, "es-zh": 1947,
    "hi-hi": 4918, "hi-vi": 1947, "hi-zh": 1767, "vi-vi": 5495, "vi-zh": 1943, "zh-zh": 5137,
}
# fmt: on
MLQA_COUNTS = {"dev": MLQA_DEV, "test": MLQA_TEST}

_Question = tuple[str, str, str]  # question id, question, paragraph


def xquad(data_dir: Path) -> RetrievalTask:
    """240 paragraphs and about 1,184 distinct questions in each language, all of them parallel.

    A paragraph is relevant to its questions in every language, so the cross-lingual and multilingual settings exist as
    well; mteb has the monolingual one only. Reads xquad/xquad.LANG.json (12 languages) or, where that is missing,
    LAReQA's xquad-r/LANG.json (the same texts without Romanian).
    """
    official = find(data_dir, ("xquad/xquad.en.json", "xquad.en.json", "xquad-r/en.json"), XQUAD_FIX)
    folder, lareqa = official.parent, official.name == "en.json"
    languages = [language for language in XQUAD_LANGUAGES if not (lareqa and language == "ro")]
    questions: dict[str, list[_Question]] = {}
    sources: dict[str, str] = {}
    for language in languages:
        path = find(folder, (f"{language}.json" if lareqa else f"xquad.{language}.json",), XQUAD_FIX)
        content, sources[f"{folder.name}/{path.name}"] = read_json(path, XQUAD_FIX)
        rows = _rows(content, path, XQUAD_FIX)
        questions[language] = [(name, question.strip(), paragraph.strip()) for name, question, paragraph in rows]
        counts = (len(rows), len({paragraph for _, _, paragraph in rows}))
        if counts != (1190, 240):
            raise DataError(
                f"{path}: {counts[0]} questions and {counts[1]} paragraphs, but the official file has 1190 and 240; "
                f"{XQUAD_FIX}"
            )
    by_id = {language: {name: paragraph for name, _, paragraph in rows} for language, rows in questions.items()}
    missing = [(name, language) for name in by_id["en"] for language in languages if name not in by_id[language]]
    if missing:
        raise DataError(f"{folder}: question {missing[0][0]!r} has no {missing[0][1]} version; {XQUAD_FIX}")
    pairs = {
        (language, context): [(name, question, by_id[context][name]) for name, question, _ in rows]
        for language, rows in questions.items()
        for context in languages
    }
    about = f"XQuAD paragraphs in {len(languages)} languages; monolingual = mteb's XQuADRetrieval"
    return _task("xquad", pairs, about, sources)


def mlqa(data_dir: Path, split: str) -> tuple[RetrievalTask, ...]:
    """MLQA's `split` ("dev", mteb's validation, or "test"): a task for each question language, "mlqa_dev_en" and so on.

    They are apart because a pair's pool depends on the question's language (see the module). Reads
    MLQA_V1/SPLIT/SPLIT-context-XX-question-YY.json, all 49 of them; the dev pairs also from LAReQA's mlqa-r/LANG.json,
    which holds the same texts.
    """
    names = [f"{folder}{split}/{split}-context-en-question-en.json" for folder in ("MLQA_V1/", "mlqa/MLQA_V1/", "")]
    first = find(data_dir, (*names, "mlqa-r/en.json") if split == "dev" else names, MLQA_FIX)
    pairs, sources = _mlqa_r(first.parent) if first.parent.name == "mlqa-r" else _mlqa_v1(first.parent, split)
    for (question, context), rows in pairs.items():
        expected = MLQA_COUNTS[split]["-".join(sorted((question, context)))]
        if len(rows) != expected:
            raise DataError(
                f"{first.parent}: {len(rows)} {question} questions on {context} paragraphs, but the official {split} "
                f"split has {expected}; {MLQA_FIX}"
            )
    about = f"MLQA {split} paragraphs, questions in {{}}; a pair = mteb's MLQARetrieval of context-question"
    return tuple(
        _task(f"mlqa_{split}_{language}", _from_language(language, pairs), about.format(language), sources)
        for language in MLQA_LANGUAGES
    )


def _from_language(
    language: str, pairs: Mapping[tuple[str, str], list[_Question]]
) -> dict[tuple[str, str], list[_Question]]:
    return {pair: rows for pair, rows in pairs.items() if pair[0] == language}


def _mlqa_v1(folder: Path, split: str) -> tuple[dict[tuple[str, str], list[_Question]], dict[str, str]]:
    pairs: dict[tuple[str, str], list[_Question]] = {}
    sources: dict[str, str] = {}
    for question in MLQA_LANGUAGES:
        for context in MLQA_LANGUAGES:
            path = find(folder, (f"{split}-context-{context}-question-{question}.json",), MLQA_FIX)
            content, sources[f"{split}/{path.name}"] = read_json(path, MLQA_FIX)
            pairs[question, context] = _rows(content, path, MLQA_FIX)
    return pairs, sources


def _mlqa_r(folder: Path) -> tuple[dict[tuple[str, str], list[_Question]], dict[str, str]]:
    """The dev pairs joined by question id: each language's file holds the questions and the paragraphs of it."""
    rows: dict[str, list[_Question]] = {}
    sources: dict[str, str] = {}
    for language in MLQA_LANGUAGES:
        path = find(folder, (f"{language}.json",), MLQA_FIX)
        content, sources[f"mlqa-r/{path.name}"] = read_json(path, MLQA_FIX)
        rows[language] = _rows(content, path, MLQA_FIX)
    questions = {language: {name: question for name, question, _ in rows[language]} for language in MLQA_LANGUAGES}
    pairs = {
        (language, context): [
            (name, questions[language][name], paragraph)
            for name, _, paragraph in rows[context]
            if name in questions[language]
        ]
        for language in MLQA_LANGUAGES
        for context in MLQA_LANGUAGES
    }
    return pairs, sources


def _rows(content: Any, path: Path, fix: str) -> list[_Question]:
    return [
        (question.id, question.text, paragraph.context)
        for paragraph in paragraphs(content, path, fix)
        for question in paragraph.questions
    ]


def _task(
    name: str, pairs: Mapping[tuple[str, str], Iterable[_Question]], about: str, sources: Mapping[str, str]
) -> RetrievalTask:
    """`pairs` maps (question language, paragraph language) to the questions of that pair, by mteb's rule (above)."""
    ids: dict[tuple[str, str], str] = {}
    paragraph_of: dict[tuple[str, str], str] = {}  # by language and question id
    places: dict[tuple[str, str], int] = {}
    relevant: dict[tuple[tuple[str, str], int], None] = {}
    for (language, context), rows in pairs.items():
        for question_id, question, paragraph in rows:
            ids[language, question] = question_id
            if context == language:
                paragraph_of[language, question_id] = text_id(paragraph)
            place = places.setdefault((context, paragraph), len(places))
            relevant[(language, question), place] = None
    row_of = {query: row for row, query in enumerate(ids)}
    return RetrievalTask(
        name=name,
        queries=tuple(
            Query(question_id, language, text, paragraph=paragraph_of.get((language, question_id), ""))
            for (language, text), question_id in ids.items()
        ),
        candidates=tuple(Candidate(text_id(text), language, (text,)) for language, text in places),
        relevance=np.array(sorted((row_of[query], place) for query, place in relevant), dtype=np.int64).reshape(-1, 2),
        candidate_texts=("paragraph",),
        about=about,
        sources=sources,
    )
