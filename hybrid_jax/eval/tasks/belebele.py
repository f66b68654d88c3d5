"""Belebele as pooled retrieval: find the FLORES passage that a question was asked about, among those of all languages.

Belebele (Bandarkar et al. 2023, arXiv 2308.16884) has 900 questions on 488 passages, translated by people into 122
language variants. Its `link` names a passage and `question_number` one of its 1 or 2 questions, in every language, as
in mteb's BelebeleRetrieval. mteb searches the passages of one language at a time, with questions in that language or
English; here a passage is relevant to its questions in every language, so that all three settings and language bias
exist.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hybrid_jax.data.documents import read_lines_of_objects
from hybrid_jax.data.fields import Place, show
from hybrid_jax.data.records import DataError
from hybrid_jax.eval.tasks.base import Candidate, Query, RetrievalTask
from hybrid_jax.eval.tasks.files import find, pairs_of_same_id, sha256

FIX = (
    "get https://dl.fbaipublicfiles.com/belebele/Belebele.zip (described at "
    "https://github.com/facebookresearch/belebele) and unpack it in DATA_DIR"
)
LANGUAGES = (
    *("arb_Arab", "deu_Latn", "ell_Grek", "eng_Latn", "hin_Deva", "rus_Cyrl"),
    *("spa_Latn", "tha_Thai", "tur_Latn", "vie_Latn", "zho_Hans"),
)
"""Those of XQuAD-R, which is how many a laptop ranks in full in a minute or two."""
QUESTIONS, PASSAGES = 900, 488


def belebele(data_dir: Path, languages: Sequence[str] = LANGUAGES) -> RetrievalTask:
    """900 questions and 488 passages in each of the languages, by their FLORES-200 codes.

    Reads Belebele/LANG.jsonl (the zip) or belebele/data/LANG.jsonl (a clone of facebook/belebele from the Hugging Face
    hub) in `data_dir` or its eval/. Raises DataError for a language given twice, and for files that are missing or not
    whole.
    """
    if len(languages) != len(set(languages)) or not languages:
        raise DataError(f"belebele: {'+'.join(languages) or 'no language'}: name each language once")
    queries: list[Query] = []
    passages: dict[tuple[str, str], Candidate] = {}
    sources: dict[str, str] = {}
    for language in languages:
        names = (f"Belebele/{language}.jsonl", f"belebele/data/{language}.jsonl", f"belebele/{language}.jsonl")
        path = find(data_dir, names, FIX)
        sources[path.name] = sha256(path)
        before = len(queries), len(passages)
        for place, record in read_lines_of_objects(path):
            link, number = place.exact(record, "link"), _number(place, record)
            question = place.exact(record, "question")
            queries.append(Query(f"{link}#{number}", language, question, place.where, paragraph=link))
            text = place.exact(record, "flores_passage")
            candidate = passages.setdefault((language, link), Candidate(link, language, (text,), place.where))
            if candidate.texts != (text,):
                raise place.bad(f"link {link!r} has another passage than at {candidate.where}; {FIX}")
        counts = len(queries) - before[0], len(passages) - before[1]
        if counts != (QUESTIONS, PASSAGES):
            raise DataError(
                f"{path}: {counts[0]} questions and {counts[1]} passages, but the official file has {QUESTIONS} and "
                f"{PASSAGES}; {FIX}"
            )
    candidates = tuple(passages.values())
    links = [query.id.rpartition("#")[0] for query in queries]
    return RetrievalTask(
        name="belebele" if tuple(languages) == LANGUAGES else f"belebele:{'+'.join(languages)}",
        queries=tuple(queries),
        candidates=candidates,
        relevance=pairs_of_same_id(links, [candidate.id for candidate in candidates]).astype(np.int64),
        candidate_texts=("passage",),
        about=f"Belebele's passages in {len(languages)} languages",
        sources=sources,
    )


def _number(place: Place, record: dict[str, object]) -> int:
    number = place.get(record, "question_number")
    if type(number) is not int:
        raise place.bad(f"'question_number' must be a whole number, got {show(number)}; {FIX}")
    return number
