"""A report of every task that mteb has as well, in which no two figures are the same."""

from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

from hybrid_jax.eval.measures.catalogue import BITEXT, FULL_RANKING, POOLS, SETTINGS
from hybrid_jax.eval.report.schema import BitextPair, BitextResult, PoolResult, RankedResult, Report
from hybrid_jax.eval.tasks.miracl import LANGUAGES as MIRACL
from hybrid_jax.eval.tasks.squad_pairs import MLQA_LANGUAGES, XQUAD_LANGUAGES


def made_up_report(bitext: dict[str, list[str]]) -> Report:
    """XQuAD, MLQA, MIRACL, a pool of one language, and XQuAD-R; `bitext` names the pairs of each bitext task."""
    figures = (number / 1e5 for number in count(1))
    tasks = {
        "xquad": ranked(XQUAD_LANGUAGES, XQUAD_LANGUAGES, "paragraph", figures),
        **{f"mlqa_dev_{code}": ranked([code], MLQA_LANGUAGES, "paragraph", figures) for code in MLQA_LANGUAGES},
        **{f"mlqa_test_{code}": ranked([code], MLQA_LANGUAGES, "paragraph", figures) for code in MLQA_LANGUAGES},
        "xquad_r": ranked(["de", "en"], ["de", "en"], "sentence+paragraph", figures),
    }
    searches = {
        "miracl": searched(MIRACL, figures),
        "miracl_hn": searched(MIRACL, figures),
        "beir:/data/scifact": searched(["en"], figures),
    }
    hashes = {key: {f"{key}.json": "0" * 64} for key in (*tasks, "miracl_hn", *bitext)}
    provenance = {"folder": "/runs/my run", "step": 40, "evaluated_with": {"git_commit": "abc"}}
    return Report.model_validate(
        {
            "title": "made up",
            "label": "trained",
            "provenance": {**provenance, "data_sha256": hashes, "tie_rule": "...", "scores": "..."},
            "tasks": tasks,
            "others": {},
            "published": {},
            "searches": searches,
            "bitext": {key: mined(pairs, figures) for key, pairs in bitext.items()},
        }
    )


def ranked(
    query_languages: Iterable[str], candidate_languages: Iterable[str], candidate_text: str, figures: Iterator[float]
) -> RankedResult:
    """A full ranking with the next of the figures in every place."""

    def means() -> dict[str, Any]:
        by_setting = {name: {setting: next(figures) for setting in SETTINGS} for name in FULL_RANKING}
        return {**by_setting, "rank_distance": next(figures), "rank_distance_median": next(figures)}

    queries, candidates = list(query_languages), list(candidate_languages)
    per_language = {code: {"questions": 9, "candidates": 240, **means()} for code in queries}
    pairs = {
        query: {
            candidate: {"questions": 9, "translation_rank": 1.0, **{name: next(figures) for name in FULL_RANKING}}
            for candidate in candidates
        }
        for query in queries
    }
    return RankedResult.model_validate(
        {
            **means(),
            "intervals": {},
            "bias": {},
            "questions": 9,
            "candidates": 2880,
            "languages": sorted({*queries, *candidates}),
            "candidate_text": candidate_text,
            "about": "made up",
            "settings": dict.fromkeys(SETTINGS, 1),
            "per_language": per_language,
            "pairs": pairs,
            "groups": {},
            "first_languages": {},
            "worst": [],
        }
    )


def searched(languages: Iterable[str], figures: Iterator[float]) -> PoolResult:
    """A searched pool with the next of the figures in every place."""
    codes = list(languages)
    rows = {code: {"questions": 9, **{name: next(figures) for name in POOLS}} for code in codes}
    means = {name: next(figures) for name in POOLS}
    sizes = {"questions": 9, "candidates": 10, "depth": 100, "relevant_missing": 0}
    return PoolResult.model_validate({**sizes, **means, "languages": codes, "about": "made up", "per_language": rows})


def mined(pairs: Iterable[str], figures: Iterator[float]) -> BitextResult:
    """Mined bitext with the next of the figures in every place."""
    sizes = {"sentences": 9, "margin_threshold": 1.0}
    rows = {pair: BitextPair.model_validate({**sizes, **{name: next(figures) for name in BITEXT}}) for pair in pairs}
    means = {name: next(figures) for name in BITEXT}
    return BitextResult.model_validate({"sentences": 9, "about": "made up", "pairs": rows, **means})
