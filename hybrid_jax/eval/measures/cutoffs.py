"""nDCG, recall, mAP and MRR at any cut-off, of the searched pools; `--cutoffs` chooses them.

A value at k looks at the first k candidates alone, as trec_eval's ndcg_cut, recall and map_cut do, and as recip_rank
does of a run that is cut there.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from hybrid_jax.eval.measures import metrics
from hybrid_jax.eval.measures.metric import Metric, named

LARGEST = 100
"""As many of the best candidates are kept of each query."""
LABELS: Mapping[str, str] = {"ndcg": "nDCG", "recall": "R", "map": "mAP", "mrr": "MRR"}


def at(k: int) -> Mapping[str, Metric]:
    """The four metrics at cut-off k: "ndcg@k", "recall@k", "map@k" and "mrr@k"."""
    within = f"within the first {k}?"
    return named(
        Metric(
            f"ndcg@{k}",
            f"nDCG@{k}",
            f"how early are good candidates, {within}",
            score=lambda r, g: metrics.ndcg(r, k, g),
        ),
        Metric(f"recall@{k}", f"R@{k}", f"how much is found {within}", score=lambda r, _: metrics.recall(r, k)),
        Metric(
            f"map@{k}", f"mAP@{k}", f"how early are all of them, {within}", score=lambda r, _: average_precision(r, k)
        ),
        Metric(
            f"mrr@{k}",
            f"MRR@{k}",
            f"how early is the first, {within}",
            score=lambda r, _: metrics.reciprocal_rank(r, k),
        ),
    )


CUTOFFS: Mapping[str, Metric] = {name: metric for k in range(1, LARGEST + 1) for name, metric in at(k).items()}
"""Every metric that can be asked for, by name."""


def average_precision(ranks: metrics.RankRows, k: int) -> metrics.PerQuery:
    """The average precision of rankings that are cut after the first k, over all relevant candidates."""
    return metrics.average_precision(np.where(ranks > k, metrics.NOT_RETRIEVED, ranks))


def parse(text: str) -> tuple[int, ...]:
    """The cut-offs of "1,5,10,100", ascending. Raises ValueError for what is no whole number from 1 to 100."""
    parts = [part.strip() for part in text.split(",")]
    wrong = [part for part in parts if not part.isdecimal() or not 1 <= int(part) <= LARGEST]
    if wrong:
        raise ValueError(f"{wrong[0]!r} is no whole number from 1 to {LARGEST}: write cut-offs such as 1,5,10,100")
    return tuple(sorted(set(map(int, parts))))


def requested(names: Collection[str]) -> Sequence[int]:
    """The cut-offs at which all four metrics are among these names."""
    return [k for k in range(1, LARGEST + 1) if all(f"{name}@{k}" in names for name in LABELS)]
