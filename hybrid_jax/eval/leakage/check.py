"""The check itself: every query and candidate of some tasks is looked for in every text of some datasets."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from hybrid_jax.data.dataset import DatasetConfig
from hybrid_jax.data.overlap import SHARE, Match, Overlap, TrainingText
from hybrid_jax.data.records import OnBadRow, Row
from hybrid_jax.data.sources import stream_rows
from hybrid_jax.eval.leakage.result import Example, Leakage, Side
from hybrid_jax.eval.tasks import BitextTask, SearchTask, Task

EXAMPLES = 3
"""Examples of each kind that a side keeps."""

_Side = tuple[str, str, Literal["queries", "candidates", "sentences"]]  # task, language, side


class _Text(NamedTuple):
    side: _Side
    where: str
    forms: tuple[str, ...]


def check(
    tasks: Iterable[Task],
    datasets: Sequence[DatasetConfig],
    on_bad: OnBadRow,
    share: float = SHARE,
    say: Callable[[str], None] = lambda line: None,
) -> Leakage:
    """Looks for the tasks' texts in the datasets, whatever their languages, and says what it has read.

    Memory holds the evaluation's texts and some 12 bytes for each of their shingles; training is streamed.
    """
    texts = [text for task in tasks for text in _texts(task)]
    overlap = Overlap(text.forms for text in texts)
    say(f"indexed {len(texts):,} evaluation texts")
    for dataset in datasets:
        overlap.look_at(training_texts(dataset, on_bad))
        say(f"{dataset.name}: read, {overlap.training_texts:,} training texts so far")
    found: dict[_Side, list[Match]] = defaultdict(list)
    for match in overlap.matches(share):
        found[texts[match.number].side].append(match)
    short = overlap.short()
    count: dict[_Side, list[int]] = {}
    for number, text in enumerate(texts):
        totals = count.setdefault(text.side, [0, 0])
        totals[0] += 1
        totals[1] += number in short
    sides = [_side(side, texts, totals, found[side]) for side, totals in count.items()]
    training = [f"{dataset.name}: {dataset.path}" for dataset in datasets]
    return Leakage(share=share, training=training, training_texts=overlap.training_texts, sides=sides)


def training_texts(config: DatasetConfig, on_bad: OnBadRow) -> Iterator[TrainingText]:
    """What a model reads of a dataset: queries, passages and negatives, both with their titles and without."""
    for row in stream_rows(config, on_bad):
        where = row.where or f"{config.name}, {row.lang} record {row.id}"
        for text in dict.fromkeys(_of(row)):
            yield TrainingText(where, text)


def _of(row: Row) -> Iterator[str]:
    if row.query is not None:
        yield row.query
    if row.passage is not None:
        yield row.passage
        if row.title is not None:
            yield f"{row.title} {row.passage}"
    for negative in row.negatives:
        yield negative.text
        yield negative.with_title


def _texts(task: Task) -> Iterator[_Text]:
    """The texts of a task. Of a pool that is searched, only the relevant candidates: the rest may be a Wikipedia."""
    if isinstance(task, BitextTask):
        yielded = set[tuple[str, str]]()  # a sentence is in a pair with every other language
        for (left, right), sides in task.pairs.items():
            for language, sentences in zip((left, right), sides, strict=True):
                for number, sentence in enumerate(sentences, start=1):
                    if (language, sentence) not in yielded:
                        yielded.add((language, sentence))
                        where = f"{task.name} {left}-{right}, sentence {number}"
                        yield _Text((task.name, language, "sentences"), where, (sentence,))
        return
    for query in task.queries:
        where = query.where or f"{task.name}, query {query.id}"
        yield _Text((task.name, query.language, "queries"), where, (query.text,))
    if isinstance(task, SearchTask):
        relevant = {name for graded in task.qrels.values() for name, grade in graded.items() if grade > 0}
        candidates = (candidate for candidate in task.corpus() if candidate.id in relevant)
    else:
        candidates = task.candidates
    for candidate in candidates:
        where = candidate.where or f"{task.name}, candidate {candidate.id}"
        yield _Text((task.name, candidate.language, "candidates"), where, candidate.texts)


def _side(side: _Side, texts: Sequence[_Text], totals: Sequence[int], matches: Sequence[Match]) -> Side:
    by_kind = {kind: [match for match in matches if match.kind == kind] for kind in ("exact", "normalised", "partial")}
    examples = [
        Example(
            kind=match.kind,
            share=round(match.share, 4),
            evaluation=texts[match.number].where,
            text=texts[match.number].forms[match.form],
            training=match.training.where,
            training_text=match.training.text,
        )
        for same_kind in by_kind.values()
        for match in same_kind[:EXAMPLES]
    ]
    task, language, name = side
    return Side(
        task=task,
        language=language,
        side=name,
        texts=totals[0],
        short=totals[1],
        exact=len(by_kind["exact"]),
        normalised=len(by_kind["normalised"]),
        partial=len(by_kind["partial"]),
        examples=examples,
    )
