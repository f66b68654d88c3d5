"""The tasks of one evaluation, opened: their files are found, read to the end and checked before a model is loaded."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path

from hybrid_jax.data.fields import cleaned
from hybrid_jax.data.records import DataError
from hybrid_jax.disk.addresses import refuse_address
from hybrid_jax.eval import tasks
from hybrid_jax.eval.tasks import BitextTask, RetrievalTask, SearchTask, Task

TasksByName = Mapping[str, tuple[Task, ...]]
"""The tasks that each name on the command line stands for, by `key_of` the name."""
SAID_FROM = 1_000_000
"""Corpora with more candidates take a while to check, which is said."""


def open_tasks(names: str, data_dir: Path | None, say: Callable[[str], None] = lambda line: None) -> TasksByName:
    """The tasks that the names, separated by commas, stand for, by their keys in reports.

    Their official files are looked for in `data_dir`; None stands for $HYBRID_JAX_DATA, or else ../shared/data.
    Every file is read to its end, a corpus that is searched as a stream too, and `say` is called with a line for each
    thing that such a corpus lacks. Raises DataError for an unknown name, and for files that are missing or damaged.
    """

    def data() -> Path:
        folder = data_dir or _default_data_dir()
        if folder is None:
            raise DataError(f"--tasks {names}: official files are needed: give --data-dir FOLDER (docs/evaluation.md)")
        return folder

    requested = [name.strip() for name in names.split(",") if name.strip()]
    makers = {name: tasks.maker(name) for name in requested or [names]}  # checks all names before it reads any file
    repeated = [key for key, count in Counter(map(key_of, makers)).items() if count > 1]
    opened = {key_of(name): make(data) for name, make in makers.items()}
    repeated += [name for name, count in Counter(task.name for task in ranked(opened)).items() if count > 1]
    if repeated:
        raise DataError(
            f"--tasks {names!r}: two tasks are called {repeated[0]!r}: rename a folder, or evaluate them apart"
        )
    for task in searched(opened):
        if task.size is not None and task.size > SAID_FROM:
            say(f"{task.name}: reading its {task.size:,} candidates once, to check them")
        for line in task.survey.lines():
            say(line)
    return opened


def key_of(name: str) -> str:
    """A task's key in reports: its name, with a folder's name in place of its path, such as "beir:scifact".

    Where a file is named, its name is added ("beir:scifact/dev"). So evaluations of the same data can be compared
    wherever it lay.
    """
    kind, _, path = name.partition(":")
    if not path or kind not in tasks.FOLDER_TASKS:
        return name
    place = Path(path).resolve()
    if not place.is_file():
        return f"{kind}:{place.name}"
    folder = place.parent.parent if place.parent.name == "qrels" else place.parent
    return f"{kind}:{folder.name}/{place.stem}"


def ranked(opened: TasksByName) -> list[RetrievalTask]:
    """The tasks that are ranked in full."""
    return [task for group in opened.values() for task in group if isinstance(task, RetrievalTask)]


def searched(opened: TasksByName) -> list[SearchTask]:
    """The tasks whose corpus is searched as a stream."""
    return [task for group in opened.values() for task in group if isinstance(task, SearchTask)]


def texts(opened: TasksByName) -> Iterator[tuple[str, str]]:
    """(language, text) of every query, candidate and sentence; the corpora of searched tasks are read for it."""
    for task in (task for group in opened.values() for task in group):
        if isinstance(task, BitextTask):
            for pair, sides in task.pairs.items():
                yield from ((language, text) for language, side in zip(pair, sides, strict=True) for text in side)
        else:
            yield from ((query.language, query.text) for query in task.queries)
            candidates = task.candidates if isinstance(task, RetrievalTask) else task.corpus()
            yield from ((row.language, text) for row in candidates for text in row.texts)


def languages_and_texts(opened: TasksByName, wanted: Set[str]) -> tuple[set[str], set[str]]:
    """The languages of all texts of the tasks, and which of the `wanted` texts these have.

    The texts of the tasks are cleaned for it, as training texts are; `wanted` is of cleaned texts.
    """
    languages, shared = set[str](), set[str]()
    for language, text in texts(opened):
        languages.add(language)
        if (text := cleaned(text)) in wanted:
            shared.add(text)
    return languages, shared


def _default_data_dir() -> Path | None:
    from_environment = os.environ.get("HYBRID_JAX_DATA")
    if from_environment:
        refuse_address(from_environment, "$HYBRID_JAX_DATA")
        return Path(from_environment)
    return Path("../shared/data") if Path("../shared/data").is_dir() else None
