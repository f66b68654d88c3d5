"""Three models whose evaluation can be worked out without running it, on the questions and candidates of any task.

* `Random`: independent directions, one per text.
* `Oracle`: what answers the same questions has one vector in all languages, and every answer ranks above all else.
* `LanguageOnly`: the vector is the language and nothing else.

`expectations.py` works out what they give. From the root of the repository, with a folder of real data,

    PYTHONPATH=tests python -m support.calibration ../shared/data xquad_r mlqa_r

prints the tables of docs/calibration.md.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from support.expectations import expected

from hybrid_jax.eval.encode import Encoder
from hybrid_jax.eval.full_ranking import run
from hybrid_jax.eval.measures.catalogue import BIAS, FULL_RANKING, RANK_DISTANCE, SETTINGS
from hybrid_jax.eval.report.schema import RankedResult
from hybrid_jax.eval.tasks import RetrievalTask, maker

DIM = 64


def named(task: RetrievalTask) -> RetrievalTask:
    """The task with its rows' languages and ids for texts: who is not to know a text need not be given it.

    Real texts would blur the models: a question that is asked of two paragraphs is one text with two answers.
    """
    return replace(
        task,
        queries=tuple(replace(row, text=f"query {row.language} {row.id}") for row in task.queries),
        candidates=tuple(replace(row, texts=(f"candidate {row.language} {row.id}",)) for row in task.candidates),
        candidate_texts=("name",),
    )


def models(task: RetrievalTask) -> dict[str, Encoder]:
    """The three, by the names that docs/calibration.md gives them, for a task whose texts are `named`."""
    return {"random": Random(), "oracle": Oracle(task), "language only": LanguageOnly(task)}


class Random:
    """A direction for every text, the same whenever it is asked for."""

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        seeds = (int.from_bytes(sha256(text.encode()).digest()[:8], "little") for text in texts)
        return _unit(np.stack([np.random.default_rng(seed).standard_normal(DIM) for seed in seeds]))

    encode_passages = encode_queries


class LanguageOnly:
    """One axis for every language."""

    def __init__(self, task: RetrievalTask):
        self._languages = sorted({row.language for row in (*task.queries, *task.candidates)})

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        held = [self._languages.index(text.split(" ")[1]) for text in texts]
        return np.eye(len(self._languages), dtype=np.float32)[held]

    encode_passages = encode_queries


class Oracle:
    """Knows which questions a candidate answers, and of a question nothing but that.

    Where languages cut sentences differently, a question shares some of its answers with another question, so equal
    vectors are not enough to set them apart. Half of a vector says which questions hang together in this way (a random
    direction for each such family), the other half has an axis for each kind of candidate in the family, a kind being
    what answers exactly the same questions; a question points at all the kinds that answer it, equally far.
    """

    def __init__(self, task: RetrievalTask):
        number = {name: row for row, name in enumerate(sorted({row.id for row in task.queries}))}
        answered: list[set[int]] = [set() for _ in task.candidates]
        for query, candidate in task.relevance.tolist():
            answered[candidate].add(number[task.queries[query].id])
        # What answers nothing is a kind of its own, shared with the candidates of the same id in other languages.
        self._kind = {
            (row.language, row.id): tuple(sorted(held)) or row.id
            for row, held in zip(task.candidates, answered, strict=True)
        }
        kinds = sorted(set(self._kind.values()), key=str)
        edges = np.array(
            [(question, row) for row, kind in enumerate(kinds) for question in kind if isinstance(kind, tuple)]
        )
        size = len(number) + len(kinds)
        links = coo_array((np.ones(len(edges)), (edges[:, 0], len(number) + edges[:, 1])), shape=(size, size))
        families, family = connected_components(links, directed=False)
        self._number, self._kinds, self._family = number, {kind: row for row, kind in enumerate(kinds)}, family
        self._codes = _unit(np.random.default_rng(0).standard_normal((families, DIM)))
        place = np.zeros(len(kinds), np.int64)
        members = np.zeros(families, np.int64)
        for row in range(len(kinds)):
            place[row] = members[family[len(number) + row]]
            members[family[len(number) + row]] += 1
        self._axes = np.eye(members.max(), dtype=np.float32)[place]
        self._answers = np.zeros((len(number), members.max()), np.float32)
        for question, row in edges.tolist():
            self._answers[question] += self._axes[row]

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        rows = np.array([self._number[text.split(" ", 2)[2]] for text in texts])
        return _unit(np.concatenate([self._codes[self._family[rows]], _unit(self._answers[rows])], axis=1))

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        rows = np.array([self._kinds[self._kind[text.split(" ", 2)[1], text.split(" ", 2)[2]]] for text in texts])
        return _unit(np.concatenate([self._codes[self._family[len(self._number) + rows]], self._axes[rows]], axis=1))


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def figures(result: RankedResult) -> dict[str, float | None]:
    """{figure: the measured value}, named as `expectations.expected` names them."""
    means = {f"{name}/{setting}": result.value(name, setting) for name in FULL_RANKING for setting in SETTINGS}
    panel = {f"bias/{name}": measure.value for name, measure in result.bias.items()}
    return {**means, RANK_DISTANCE.name: result.value(RANK_DISTANCE.name), **panel}


def table(task: RetrievalTask) -> str:
    """Markdown: a row per figure, and for every model what was worked out beside what was measured."""
    task = named(task)
    found = {name: figures(run(model, [task]).tasks[task.name]) for name, model in models(task).items()}
    known = expected(task)
    cells = [["figure", *(f"{name}: {kind}" for name in found for kind in ("worked out", "measured"))]]
    cells.append(["---"] * len(cells[0]))
    for figure in found["random"]:
        if figure == RANK_DISTANCE.name:  # the panel has it too
            continue
        label = BIAS[figure.removeprefix("bias/")].label if figure.startswith("bias/") else figure
        values = [value for name in found for value in (known[name].get(figure), found[name][figure])]
        cells.append([label, *map(_shown, values)])
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _shown(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4f}".rstrip("0").rstrip(".") if value else "0"


def _print_tables(data: Path, names: Sequence[str]) -> None:
    for name in names:
        [task] = maker(name)(lambda: data)
        assert isinstance(task, RetrievalTask)
        sys.stdout.write(f"## {name}\n\n{table(task)}\n\n")


if __name__ == "__main__":
    _print_tables(Path(sys.argv[1]), sys.argv[2:])
