"""Retrieval in the held-out pool, measured during training as `eval` measures it."""

from collections.abc import Iterable
from functools import partial

import jax
import numpy as np
from jax.sharding import Mesh

from hybrid_jax.data.batch import PackedBatch
from hybrid_jax.data.heldout_pool import HeldoutPool
from hybrid_jax.data.layout import Layout
from hybrid_jax.data.records import DataError
from hybrid_jax.eval.measures.catalogue import MAP
from hybrid_jax.eval.measures.macro import averages
from hybrid_jax.eval.measures.per_query import collect
from hybrid_jax.eval.tasks.base import Candidate, Query, RetrievalTask
from hybrid_jax.model.dual_encoder import Parameters
from hybrid_jax.runtime.agreement import of_process_0
from hybrid_jax.runtime.mesh import put_batch, replicated
from hybrid_jax.search.ranks import rank_relevant
from hybrid_jax.train.encode import Encode
from hybrid_jax.train.heldout import Measure


def heldout_retrieval(
    pool: HeldoutPool, encode: Encode, layouts: list[Layout], mesh: Mesh, best_metric: str
) -> Measure:
    """Measures heldout_map_SETTING, mAP of the pool's full rankings in the settings for which it has pairs.

    All devices encode the pool, by one program. Process 0 ranks, as `eval` does: exact scores, means over languages
    (monolingual, multilingual) and over ordered pairs of languages (cross-lingual). NaN for vectors that are not
    finite. Raises DataError if the pool has no pairs for `best_metric`.
    """
    metrics = {f"heldout_map_{setting}" for setting in pool.settings}
    if best_metric.startswith("heldout_map_") and best_metric not in metrics:
        setting = best_metric.removeprefix("heldout_map_").replace("_", "-")
        raise DataError(
            f"checkpoint.best_metric {best_metric!r}: the {pool} has no {setting} pairs: choose {_listed(metrics)}, or "
            f"raise data.heldout_pool"
        )
    rows = pool.pack(layouts, mesh.size, jax.process_index(), jax.process_count())
    task = _task(pool)

    @jax.jit
    def vectors(parameters: Parameters, batch: PackedBatch) -> tuple[jax.Array, jax.Array]:
        encoded = encode(parameters, batch, None)
        return jax.lax.with_sharding_constraint((encoded.queries, encoded.passages), replicated(mesh))

    def rank(queries: np.ndarray, passages: np.ndarray) -> dict[str, float]:
        if not (np.isfinite(queries).all() and np.isfinite(passages).all()):
            return dict.fromkeys(sorted(metrics), float("nan"))
        languages, ids = [row.language for row in task.candidates], [row.id for row in task.candidates]
        ranks = rank_relevant(queries, passages, task.relevance, languages, ids)
        means = averages(task, ranks, collect(task, ranks)).overall[MAP.name]
        assert isinstance(means, dict)
        return {f"heldout_map_{setting}": mean for setting, mean in means.items() if mean is not None}

    def measure(parameters: Parameters) -> dict[str, float]:
        queries, passages = jax.device_get(vectors(parameters, put_batch(mesh, rows)))
        return of_process_0(partial(rank, queries[: len(pool.queries)], passages[: len(pool.passages)]))

    return measure


def _task(pool: HeldoutPool) -> RetrievalTask:
    """The pool as `eval` takes it, without texts."""
    queries = tuple(Query(query.id, query.language, "") for query in pool.queries)
    candidates = tuple(Candidate(passage.id, passage.language, ("",)) for passage in pool.passages)
    return RetrievalTask("held-out pool", queries, candidates, pool.relevance, ("passage",))


def _listed(metrics: Iterable[str]) -> str:
    return " or ".join(sorted(metrics))
