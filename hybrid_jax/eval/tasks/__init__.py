"""Benchmarks: each becomes a task, and nothing outside this folder knows one. Open `base.py` first.

To add one, write a function that returns a `RetrievalTask`, `SearchTask` or `BitextTask`, and name it in `TASKS`. May
import `data` and `disk`; knows no model, metric or report.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from hybrid_jax.data.languages import language_tag
from hybrid_jax.data.records import DataError
from hybrid_jax.disk.addresses import refuse_address
from hybrid_jax.eval.tasks.base import BitextTask, Candidate, Query, RetrievalTask, SearchTask, Task
from hybrid_jax.eval.tasks.beir import UNKNOWN_LANGUAGE, beir, pooled
from hybrid_jax.eval.tasks.belebele import belebele
from hybrid_jax.eval.tasks.bitext import flores, ntrex, tatoeba
from hybrid_jax.eval.tasks.bitext_files import bitext
from hybrid_jax.eval.tasks.demo import demo
from hybrid_jax.eval.tasks.lareqa import mlqa_r, xquad_r
from hybrid_jax.eval.tasks.miracl import LANGUAGES, miracl, miracl_hn
from hybrid_jax.eval.tasks.squad_pairs import mlqa, xquad
from hybrid_jax.eval.tasks.tydiqa import tydiqa

__all__ = [
    "FOLDER_TASKS",
    "TASKS",
    "UNKNOWN_LANGUAGE",
    "BitextTask",
    "Candidate",
    "Query",
    "RetrievalTask",
    "SearchTask",
    "Task",
    "beir",
    "belebele",
    "bitext",
    "demo",
    "flores",
    "maker",
    "miracl",
    "miracl_hn",
    "mlqa",
    "mlqa_r",
    "ntrex",
    "pooled",
    "tatoeba",
    "tydiqa",
    "xquad",
    "xquad_r",
]

DataDir = Callable[[], Path]
"""Returns `--data-dir`. It raises where none was given, so only tasks that read files call it."""
Maker = Callable[[DataDir], tuple[Task, ...]]


def _miracl_of(language: str) -> Maker:
    return lambda data: (miracl(data(), language),)


def _miracl_hn_of(language: str) -> Maker:
    return lambda data: (miracl_hn(data(), language),)


TASKS: Mapping[str, Maker] = {
    "demo": lambda data: (demo(),),
    "xquad_r": lambda data: (xquad_r(data()),),
    "mlqa_r": lambda data: (mlqa_r(data()),),
    "tydiqa": lambda data: (tydiqa(data()),),
    "xquad": lambda data: (xquad(data()),),
    "mlqa_dev": lambda data: mlqa(data(), "dev"),
    "mlqa_test": lambda data: mlqa(data(), "test"),
    "belebele": lambda data: (belebele(data()),),
    "miracl": lambda data: tuple(miracl(data(), language) for language in LANGUAGES),
    "miracl_hn": lambda data: tuple(miracl_hn(data(), language) for language in LANGUAGES),
    "flores": lambda data: (flores(data()),),
    "ntrex": lambda data: (ntrex(data()),),
    "tatoeba": lambda data: (tatoeba(data()),),
    **{f"miracl_{language}": _miracl_of(language) for language in LANGUAGES},
    **{f"miracl_hn_{language}": _miracl_hn_of(language) for language in LANGUAGES},
}
"""{name on the command line: a function that makes its tasks}. Several tasks of one name are averaged."""

FOLDER_TASKS: Mapping[str, Callable[[Path], Task]] = {"beir": beir, "pooled": pooled, "bitext": bitext}
"""Tasks that are named with a path: "beir:FOLDER" and "pooled:FOLDER", or a qrels file in the folder; "bitext:FILE"."""


def maker(name: str) -> Maker:
    """The function that makes the tasks of a name on the command line. Raises DataError for an unknown name."""
    kind, _, path = name.partition(":")
    if path and kind in FOLDER_TASKS:
        refuse_address(path, kind)
        return lambda data: (FOLDER_TASKS[kind](Path(path)),)
    if path and kind == "belebele":
        return lambda data: (belebele(data(), path.split("+")),)
    for pool in ("miracl_", "miracl_hn_"):
        with suppress(ValueError):
            if name.startswith(pool) and (usual := pool + language_tag(name.removeprefix(pool))) in TASKS:
                name = usual
    if name not in TASKS:
        single_language = {f"{pool}_{language}" for pool in ("miracl", "miracl_hn") for language in LANGUAGES}
        names = [*(task for task in TASKS if task not in single_language), "miracl_LANG", "miracl_hn_LANG"]
        names += ["belebele:LANG+LANG"]
        names += [f"{kind}:FOLDER" for kind in FOLDER_TASKS]
        raise DataError(f"no task {name!r}: choose from {', '.join(names)}")
    return TASKS[name]
