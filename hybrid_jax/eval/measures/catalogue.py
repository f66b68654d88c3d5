"""Every metric that a report can hold, declared once: tables, figures, comparisons, curves and cards read it here."""

from collections.abc import Mapping
from typing import Literal, get_args

from hybrid_jax.eval.measures import metrics
from hybrid_jax.eval.measures.cutoffs import CUTOFFS
from hybrid_jax.eval.measures.metric import Metric, named

Setting = Literal["monolingual", "cross_lingual", "multilingual"]
SETTINGS: tuple[Setting, ...] = get_args(Setting)
SETTING_LABELS: Mapping[Setting, str] = {"monolingual": "Mo.", "cross_lingual": "Cr.", "multilingual": "Mul."}

DEPTH = 20
"""Cut-off of every bias measure that stops at k; SHIFT and MIMO use 20 too, and no task here has as many languages."""
OTHER_GAIN = 0.5
"""Gain of a relevant candidate in another language in the language nDCG; our choice, see `bias.language_ndcg`."""

MAP = Metric(
    "map",
    "mAP",
    "how early do the relevant candidates come?",
    score=lambda ranks, _: metrics.average_precision(ranks),
    source="trec_eval map, over the full ranking",
)
NDCG_10 = Metric(
    "ndcg@10",
    "nDCG@10",
    "how well are the first 10 ordered?",
    score=lambda ranks, grades: metrics.ndcg(ranks, 10, grades),
    mteb="ndcg_at_10",
    source="Järvelin & Kekäläinen 2002; trec_eval ndcg_cut",
)
FULL_RANKING: Mapping[str, Metric] = named(
    MAP,
    Metric(
        "recall@1",
        "R@1",
        "how much of what is relevant comes first?",
        score=lambda ranks, _: metrics.recall(ranks, 1),
        mteb="recall_at_1",
        source="trec_eval recall",
    ),
    Metric(
        "recall@10",
        "R@10",
        "how much of what is relevant is among the first 10?",
        score=lambda ranks, _: metrics.recall(ranks, 10),
        mteb="recall_at_10",
        source="trec_eval recall",
    ),
    Metric(
        "mrr",
        "MRR",
        "how early does the first relevant candidate come?",
        score=lambda ranks, _: metrics.reciprocal_rank(ranks),
        source="trec_eval recip_rank, over the full ranking",
    ),
    NDCG_10,
)
"""What a full ranking is scored by in each of the three settings."""

RANK_DISTANCE = Metric(
    "rank_distance",
    "Rank distance",
    "how far apart do the best and the worst translation rank?",
    better="lower",
    digits=1,
    score=lambda ranks, _: metrics.rank_distance(ranks),
    source="Huang et al. 2023; arXiv 2408.10536",
)
RANK_DISTANCE_MEDIAN = Metric(
    "rank_distance_median",
    "Rank distance, median",
    "how far apart do the best and the worst translation of a typical question rank?",
    better="lower",
    digits=1,
    source="the median over a language's queries of the rank distance",
)
HEADLINE: Mapping[str, Metric] = {**FULL_RANKING, **named(RANK_DISTANCE, RANK_DISTANCE_MEDIAN)}
"""What one model is compared with another by: `FULL_RANKING` and the rank distance of the multilingual setting."""

POOLS: Mapping[str, Metric] = named(
    NDCG_10,
    Metric(
        "recall@100",
        "R@100",
        "how much of what is relevant is among the first 100?",
        score=lambda ranks, _: metrics.recall(ranks, 100),
        mteb="recall_at_100",
        source="trec_eval recall",
    ),
    Metric(
        "map@100",
        "mAP@100",
        "how early do the relevant candidates come, within the first 100?",
        score=lambda ranks, _: metrics.average_precision(ranks),
        mteb="map_at_100",
        source="trec_eval map_cut",
    ),
    Metric(
        "mrr@10",
        "MRR@10",
        "how early does the first relevant candidate come, within the first 10?",
        score=lambda ranks, _: metrics.reciprocal_rank(ranks, 10),
        mteb="mrr_at_10",
        source="MS MARCO's official metric",
    ),
)
"""What a searched pool is scored by, from the ranks among its 100 best."""

BITEXT: Mapping[str, Metric] = named(
    Metric("accuracy", "accuracy", "how often is the most similar sentence the translation?", source="XTREME"),
    Metric("accuracy_forward", "forward", "the accuracy from the first language to the second", mteb="accuracy"),
    Metric("accuracy_backward", "backward", "the accuracy from the second language to the first", mteb="accuracy"),
    Metric("weighted_f1_forward", "F1 (mteb)", "mteb's main score, first language to second", mteb="f1"),
    Metric("weighted_f1_backward", "F1 (mteb), backward", "mteb's main score, second language to first", mteb="f1"),
    Metric(
        "margin_f1",
        "margin F1",
        "how well does the best threshold on the margin tell translations from others?",
        source="Artetxe & Schwenk 2019, arXiv 1811.01136",
    ),
)
"""What mined bitext is scored by; `bitext.score` computes all of them together."""

PER_QUERY_BIAS: Mapping[str, Metric] = named(
    RANK_DISTANCE,
    Metric(
        "log_rank_distance",
        "Rank distance, log2",
        "the same in doublings of depth",
        better="lower",
        digits=3,
        source="ours",
    ),
    Metric(
        "max_rank",
        "Max@R",
        "how deep must one read to have them all?",
        better="lower",
        digits=1,
        source="arXiv 2604.05684, as others describe it",
    ),
    Metric(
        f"complete@{DEPTH}",
        f"Complete@{DEPTH}",
        f"are all of them among the first {DEPTH}?",
        digits=3,
        source="arXiv 2604.05684, as others describe it",
    ),
    Metric(
        f"target_recall@{DEPTH}",
        f"TLR@{DEPTH}",
        f"how many of those in other languages are among the first {DEPTH}?",
        digits=3,
        source="SHIFT, arXiv 2606.18801",
    ),
    Metric(
        f"same_language_share@{DEPTH}",
        f"Same-language share@{DEPTH}",
        f"how much of the first {DEPTH} is in the query's language?",
        better="lower",
        digits=3,
        source="common practice",
    ),
    Metric(
        "language_preference",
        "LPR",
        "how often does the query's own language come first?",
        better="lower",
        digits=3,
        source="MLAIRE, arXiv 2605.07249, as others describe it",
    ),
    Metric(
        f"language_ndcg@{DEPTH}",
        f"Lang-nDCG@{DEPTH}",
        f"nDCG with gain 1 for the query's language and {OTHER_GAIN} for others",
        better="neither",
        digits=3,
        source="the idea of MLAIRE, arXiv 2605.07249; the gains are ours",
    ),
    Metric(
        "removal_gap",
        "Removal gap",
        "loss of AP without the own language's answer, minus another's",
        better="lower",
        digits=3,
        source="LAReQA, arXiv 2004.05484, as others describe it",
    ),
    Metric(
        "pooling_drop",
        "Drop in the pool",
        "AP lost to other languages' candidates; some by their number",
        better="lower",
        digits=3,
        source="ours",
    ),
    Metric(
        "lone_answer_gap",
        "Lone-answer gap",
        "AP if only the own language had an answer, minus another",
        better="lower",
        digits=3,
        source="ours",
    ),
    Metric(
        f"equal_rank@{DEPTH}",
        f"PEER@{DEPTH}",
        "p-value of: all languages' answers rank alike",
        digits=3,
        source="Yang et al. 2024, arXiv 2405.00978; MIMO's code, arXiv 2605.31171",
    ),
    Metric(
        f"rank_correlation@{DEPTH}",
        f"MRC@{DEPTH}",
        "do a question's translations rank alike? (far below 0 is chance)",
        digits=3,
        source="Yang et al., arXiv 2509.06195; MIMO's code, arXiv 2605.31171",
    ),
)
"""Measures of language bias that every query has a value of."""

SPACE_BIAS: Mapping[str, Metric] = named(
    Metric(
        "language_probe",
        "Language probe",
        "how often does a linear classifier name a text's language?",
        better="lower",
        digits=3,
        source="common practice, e.g. Wu & Dredze 2019; the split and the classifier are ours",
    ),
    Metric(
        "favoured_language",
        "Most favoured language",
        "how much more often than its due does one language come first?",
        better="lower",
        digits=3,
        source="ours",
    ),
    Metric(
        f"hubness@{DEPTH}",
        f"Hubness@{DEPTH}",
        "skewness of how often candidates are found",
        better="neither",
        digits=3,
        source="Radovanović et al. 2010",
    ),
    Metric(
        f"hub_share@{DEPTH}",
        f"Hubs' share@{DEPTH}",
        "share of the lists that the top 1 % fill",
        better="neither",
        digits=3,
        source="ours",
    ),
)
"""Measures of language bias of a whole ranking or embedding space."""

BIAS: Mapping[str, Metric] = {**PER_QUERY_BIAS, **SPACE_BIAS}
"""The bias panel, in the order in which it is shown."""

_MLAIRE = "MLAIRE, arXiv 2605.07249, as others describe it"
FIRST_RESULT: Mapping[str, Metric] = named(
    Metric(
        "first_right_own",
        "First: right, query's language",
        "how often is the first result relevant and in the query's language?",
        digits=3,
        source=_MLAIRE,
    ),
    Metric(
        "first_right_other",
        "First: right, another language",
        "how often is the first result relevant and in another language?",
        better="neither",
        digits=3,
        source=_MLAIRE,
    ),
    Metric(
        "first_wrong_own",
        "First: wrong, query's language",
        "how often is the first result irrelevant and in the query's language?",
        better="lower",
        digits=3,
        source=_MLAIRE,
    ),
    Metric(
        "first_wrong_other",
        "First: wrong, another language",
        "how often is the first result irrelevant and in another language?",
        better="lower",
        digits=3,
        source=_MLAIRE,
    ),
)
"""The four kinds of first results, by meaning and by language; every query has one of them."""

METRICS: Mapping[str, Metric] = {**CUTOFFS, **BITEXT, **POOLS, **BIAS, **FIRST_RESULT, **HEADLINE}
"""All of them by name."""
