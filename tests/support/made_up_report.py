"""A report.json of every task that mteb has as well, in which no two figures are the same."""

from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

from hybrid_jax.eval.measures.catalogue import FULL_RANKING, POOLS, SETTINGS
from hybrid_jax.eval.tasks.miracl import LANGUAGES as MIRACL
from hybrid_jax.eval.tasks.squad_pairs import MLQA_LANGUAGES, XQUAD_LANGUAGES


def made_up_report(bitext: dict[str, list[str]]) -> dict[str, Any]:
    """XQuAD, MLQA, MIRACL (and one language of it alone), XQuAD-R; `bitext`: {task key: names of its pairs}."""
    figures = (number / 1e5 for number in count(1))
    tasks = {
        "xquad": _ranked(XQUAD_LANGUAGES, XQUAD_LANGUAGES, "paragraph", figures),
        **{f"mlqa_dev_{code}": _ranked([code], MLQA_LANGUAGES, "paragraph", figures) for code in MLQA_LANGUAGES},
        **{f"mlqa_test_{code}": _ranked([code], MLQA_LANGUAGES, "paragraph", figures) for code in MLQA_LANGUAGES},
        "xquad_r": _ranked(["de", "en"], ["de", "en"], "sentence+paragraph", figures),
    }
    searches = {
        "miracl": _searched(MIRACL, figures),
        "miracl_hn": _searched(MIRACL, figures),
        "beir:/data/scifact": _searched(["en"], figures),
    }
    mined = ("accuracy_forward", "accuracy_backward", "weighted_f1_forward", "weighted_f1_backward", "margin_f1")
    hashes = {key: {f"{key}.json": "0" * 64} for key in (*tasks, "miracl_hn", *bitext)}
    return {
        "provenance": {
            "folder": "/runs/my run",
            "step": 40,
            "data_sha256": hashes,
            "tie_rule": "...",
            "evaluated_with": {"git_commit": "abc"},
        },
        "tasks": tasks,
        "searches": searches,
        "bitext": {
            key: {"pairs": {pair: {"sentences": 9, **{name: next(figures) for name in mined}} for pair in pairs}}
            for key, pairs in bitext.items()
        },
    }


def _ranked(asked: Iterable[str], held: Iterable[str], candidate_text: str, figures: Iterator[float]) -> dict[str, Any]:
    def settings() -> dict[str, float]:
        return {setting: next(figures) for setting in SETTINGS}

    distance = {"rank_distance": next(figures), "rank_distance_median": next(figures)}
    return {
        "candidate_text": candidate_text,
        "candidates": 2880,
        "per_language": {
            code: {"questions": 9, "candidates": 240, **{name: settings() for name in FULL_RANKING}, **distance}
            for code in asked
        },
        "pairs": {
            one: {other: {"questions": 9, **{name: next(figures) for name in FULL_RANKING}} for other in held}
            for one in asked
        },
    }


def _searched(codes: Iterable[str], figures: Iterator[float]) -> dict[str, Any]:
    return {"per_language": {code: {"questions": 9, **{name: next(figures) for name in POOLS}} for code in codes}}
