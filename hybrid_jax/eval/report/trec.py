"""Rankings as TREC files, which trec_eval, ir-measures, ranx and pyserini read.

`NAME.run.gz` has a line `QUERY Q0 CANDIDATE RANK SCORE TAG` for each of a query's best candidates, best first;
`NAME.qrels.gz` a line `QUERY 0 CANDIDATE GRADE` for each judgment. ir-measures reads both as they are, trec_eval after
`gunzip`. In tasks that are ranked in full an id is "LANGUAGE:ID", since ids are unique within a language only; searched
pools keep their own ids, which their official qrels use. White space, "%" and (in a language) ":" are written as %XX.

trec_eval ignores the order and the ranks in a run: it sorts by score, which it keeps in float32, and breaks ties by the
greater id. Our scores differ beyond float32, and ties are broken by (language, id) before any escaping. So the score
of a line is the exact one rounded to float32, and lowered by its last bits where it would not be below the line before.
Every reader then sees our order, and no score is off by more than about 1e-5 (a hundred equal candidates in a row).

A run holds the best 100 candidates of each query: nDCG@10, R@10 and the like are those of report.json, but average
precision is AP@100, and a query whose first relevant candidate comes later has a reciprocal rank of 0.
"""

import gzip
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import numpy as np
from jaxtyping import Float, Float32

from hybrid_jax.disk.files import atomic_file
from hybrid_jax.eval.measures.metrics import Run
from hybrid_jax.eval.ranking import Ranking
from hybrid_jax.eval.report.file_names import FileNames
from hybrid_jax.eval.tasks import RetrievalTask, SearchTask
from hybrid_jax.search.scores import on_grid, tie_order

COMPRESSION = 1
"""gzip's level: a random run of XQuAD-R's size takes 5.6 s of CPU and 20 MB; at level 6 it takes 9.6 s and 17 MB."""


class TrecWriter:
    """Writes rankings into `folder`, as the evaluation passes them to its methods.

    `tag` names the system in each line of a run. `paths` are the files written so far.
    """

    def __init__(self, folder: Path, tag: str) -> None:
        self.paths: list[Path] = []
        self._folder = folder
        self._tag = _escaped(tag) or "hybrid_jax"
        self._names = FileNames()

    def ranked(self, key: str, task: RetrievalTask, ranking: Ranking) -> None:
        """Writes the ranking of a task that is ranked in full, named by its key in report.json."""
        queries = [_name(row.language, row.id) for row in task.queries]
        candidates = [_name(row.language, row.id) for row in task.candidates]
        best = (
            (query, [candidates[row] for row in rows], scores)
            for query, (rows, scores) in zip(queries, _exact(task, ranking), strict=True)
        )
        judged = ((queries[query], candidates[answer], 1) for query, answer in task.relevance.tolist())
        self._write(self._names.of(key), best, judged)

    def searched(self, key: str, task: SearchTask, run: Run) -> None:
        """Writes the run of a searched pool, {query id: [(candidate id, score), ...]}, named by its task.

        `key` is what report.json calls it, or the pools that it is one of: MIRACL has a task per language. Candidates
        are in the order that `metrics.judge` scores.
        """
        best = ((_escaped(query), *_best_first(run[query])) for query in run)
        judged = (
            (_escaped(query), _escaped(candidate), grade)
            for query, graded in task.qrels.items()
            for candidate, grade in graded.items()
        )
        self._write(self._names.of(task.name, key), best, judged)

    def _write(
        self,
        name: str,
        best: Iterable[tuple[str, Sequence[str], Float[np.ndarray, " candidates"]]],
        judged: Iterable[tuple[str, str, int]],
    ) -> None:
        run, qrels = self._folder / f"{name}.run.gz", self._folder / f"{name}.qrels.gz"
        with _compressed(run) as file:
            for query, candidates, scores in best:
                ranked = enumerate(zip(candidates, falling(scores).tolist(), strict=True), start=1)
                # Nine digits tell any two float32 numbers apart.
                file.writelines(
                    f"{query} Q0 {candidate} {rank} {score:.9g} {self._tag}\n" for rank, (candidate, score) in ranked
                )
        with _compressed(qrels) as file:
            file.writelines(f"{query} 0 {candidate} {grade}\n" for query, candidate, grade in judged)
        self.paths += [run, qrels]


def falling(scores: Float[np.ndarray, " candidates"]) -> Float32[np.ndarray, " candidates"]:
    """Non-increasing scores as strictly decreasing float32 numbers, each the nearest possible to its score."""
    short = scores.astype(np.float32)
    for place in np.flatnonzero(short[1:] >= short[:-1]) + 1:
        # Lowering one score may make it equal to the next, and so on.
        while place < len(short) and short[place] >= short[place - 1]:
            short[place] = np.nextafter(short[place - 1], np.float32(-np.inf))
            place += 1
    return short


def _exact(task: RetrievalTask, ranking: Ranking) -> Iterator[tuple[list[int], np.ndarray]]:
    """Each query's best candidates in the order of `ranks.rank_relevant`, and their exact scores.

    `ranking.top` is ordered by float32 scores, so that two candidates may have to change places.
    """
    place = np.empty(len(task.candidates), np.int64)
    place[tie_order([row.language for row in task.candidates], [row.id for row in task.candidates])] = np.arange(
        len(task.candidates)
    )
    queries, candidates = on_grid(ranking.queries), on_grid(ranking.candidates)
    for query, top in zip(queries, ranking.top, strict=True):
        rows = top[top >= 0]
        scores = candidates[rows] @ query
        order = np.lexsort((place[rows], -scores))
        yield rows[order].tolist(), scores[order]


def _best_first(scored: Sequence[tuple[str, float]]) -> tuple[list[str], np.ndarray]:
    """Escaped ids and scores in trec_eval's order."""
    ordered = sorted(((float(np.float32(score)), name) for name, score in scored), reverse=True)
    return [_escaped(name) for _, name in ordered], np.array([score for score, _ in ordered])


def _name(language: str, name: str) -> str:
    return f"{_escaped(language).replace(':', '%3A')}:{_escaped(name)}"


def _escaped(name: str) -> str:
    return re.sub(r"[\s%\x00-\x1f\x7f]", lambda match: quote(match[0], safe=""), name)


@contextmanager
def _compressed(path: Path) -> Iterator[io.TextIOWrapper]:
    """A gzip file for text whose bytes depend on the text alone, not on the time or the file's name."""
    with (
        atomic_file(path) as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=COMPRESSION, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as text,
    ):
        yield text
