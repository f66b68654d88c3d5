"""One evaluation in three steps: open the tasks, measure an encoder on them, publish the report and its files."""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from hybrid_jax.data.records import DataError
from hybrid_jax.debias.methods import Debiaser, Method
from hybrid_jax.debias.texts import fit_all, read_text
from hybrid_jax.embed.encoder import TextEncoder
from hybrid_jax.eval import bitext, pools, tasks
from hybrid_jax.eval.evaluation import Evaluation
from hybrid_jax.eval.full_ranking import run
from hybrid_jax.eval.measures import per_query
from hybrid_jax.eval.report import figures, mteb_results
from hybrid_jax.eval.report.build import Report, build_report, write_report
from hybrid_jax.eval.report.schema import BitextResult, PoolResult
from hybrid_jax.eval.report.trec import TrecWriter
from hybrid_jax.eval.tasks import BitextTask, RetrievalTask, SearchTask, Task
from hybrid_jax.eval.watch import curve
from hybrid_jax.eval.zeros import ZERO_WARNING, with_warnings, zero_tasks
from hybrid_jax.runs.provenance import provenance
from hybrid_jax.runs.trained_on import read_trained_on

TasksByName = Mapping[str, tuple[Task, ...]]
"""The tasks that each name on the command line stands for."""
CURVE = "curve.jsonl"
SAID_FROM = 1_000_000
"""Corpora with more candidates take a while to check, which is said."""


class Published(NamedTuple):
    """A report, and the files and folders that were written."""

    report: Report
    paths: list[Path]


def open_tasks(names: str, data_dir: Path | None, say: Callable[[str], None] = lambda line: None) -> TasksByName:
    """The tasks that the names, separated by commas, stand for.

    Their official files are looked for in `data_dir`; None stands for $HYBRID_JAX_DATA, or else ../shared/data.
    Every file is read to its end, a corpus that is searched as a stream too, and `say` is called with a line for each
    thing that such a corpus lacks. Raises DataError for an unknown name, and for files that are missing or damaged.
    """

    def data() -> Path:
        folder = data_dir or _default_data_dir()
        if folder is None:
            raise DataError(f"--tasks {names!r}: they need their official files: give --data-dir (see docs/data.md)")
        return folder

    requested = [name.strip() for name in names.split(",") if name.strip()]
    makers = {name: tasks.maker(name) for name in requested or [names]}  # checks all names before it reads any file
    opened = {name: make(data) for name, make in makers.items()}
    repeated = [name for name, count in Counter(task.name for task in ranked(opened)).items() if count > 1]
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


def ranked(opened: TasksByName) -> list[RetrievalTask]:
    """The tasks that are ranked in full."""
    return [task for group in opened.values() for task in group if isinstance(task, RetrievalTask)]


def searched(opened: TasksByName) -> list[SearchTask]:
    """The tasks whose corpus is searched as a stream."""
    return [task for group in opened.values() for task in group if isinstance(task, SearchTask)]


def fit_debiasing(
    encoder: TextEncoder, methods: Sequence[Method], files: Sequence[Path], per_language: int, opened: TasksByName
) -> dict[str, Debiaser]:
    """Fits each method on the files' texts in the tasks' languages, except the texts that the tasks hold."""
    if not ranked(opened):
        raise DataError(f"--debias: {', '.join(opened)} is not ranked in full; ask for a task that is, such as xquad_r")
    if not files:
        raise DataError("--debias needs texts to be fitted on: name some with --debias-text (see docs/debiasing.md)")
    rows = [row for task in ranked(opened) for row in (*task.queries, *task.candidates)]
    languages = {row.language for row in rows}
    if "shift" in methods and "en" not in languages:
        raise DataError(
            "--debias shift moves all languages towards English, and the tasks have no English: leave it out"
        )
    evaluated = {query.text for task in ranked(opened) for query in task.queries}
    evaluated |= {text for task in ranked(opened) for row in task.candidates for text in row.texts}
    return fit_all(encoder, methods, read_text(files, evaluated, per_language, languages))


def measure(
    encoder: TextEncoder,
    opened: TasksByName,
    say: Callable[[str], None] = lambda line: None,
    *,
    debias: Mapping[str, Debiaser] | None = None,
    trec: TrecWriter | None = None,
    stores: pools.Stores | None = None,
    warn: Callable[[str], None] = lambda line: None,
) -> Evaluation:
    """Evaluates the encoder on all tasks, and on those ranked in full after each debiasing too.

    `say` is called with a line of progress, `trec` with every ranking; `stores` keeps the embeddings of searched pools.
    `warn` is called with a line for each task whose every figure is 0, and its result says so too. Raises ValueError
    for embeddings and figures that are not finite.
    """
    trained_on = _languages_trained_on(encoder)
    evaluation = run(encoder, ranked(opened), say, debias=debias, trained_on=trained_on, watch=trec and trec.ranked)
    searches: dict[str, PoolResult] = {}
    mined: dict[str, BitextResult] = {}
    sources = dict(evaluation.sources)
    for name, group in opened.items():
        results = [
            pools.evaluate(
                encoder, task, store=stores and stores.fill(encoder, task, say), watch=trec and trec.searched
            )
            for task in group
            if isinstance(task, SearchTask)
        ]
        if results:
            precision = f"; embeddings kept as {stores.dtype}" if stores and stores.dtype != "float32" else ""
            mean_of = f"{name}, the mean over {len(results)} pools{precision}"
            about = mean_of if len(results) > 1 else results[0].about
            searches[name] = pools.together(about, results, trained_on)
        for task in group:
            if isinstance(task, BitextTask):
                mined[name] = bitext.evaluate(encoder, task)
        others = [task for task in group if not isinstance(task, RetrievalTask)]
        if others:
            sources[name] = {f"{task.name}/{file}": sha256 for task in others for file, sha256 in task.sources.items()}
    evaluation = replace(evaluation, searches=searches, bitext=mined, sources=sources)
    zeros = zero_tasks(evaluation)
    for key in zeros:
        warn(f"warning: {key}: {ZERO_WARNING}")
    return with_warnings(evaluation, zeros)


def publish(
    encoder: TextEncoder,
    evaluation: Evaluation,
    folder: Path,
    *,
    title: str | None = None,
    untrained: Evaluation | None = None,
    debias: Mapping[str, Debiaser] | None = None,
    also: Sequence[str] = (),
) -> Published:
    """Writes report.json, report.md, report.html and per_query.npz into the folder, over those of an earlier report.

    Each of `debias` is written beside them. `also` names more to write: "figures" and "mteb"; "trec", whose files
    `measure` wrote into FOLDER/trec, is only listed. `untrained` is the same model before training, shown beside it.
    """
    report = _report(encoder, evaluation, title, untrained, debias or {})
    paths = write_report(folder, report)
    per_query.write(folder / per_query.FILE_NAME, evaluation.per_query)
    for method, debiaser in (debias or {}).items():
        paths.append(folder / f"debias-{method}.npz")
        debiaser.save(paths[-1])
    for kind, write in (("figures", figures.write), ("mteb", mteb_results.write)):
        if kind in also:
            paths.append(folder / kind)
            write(paths[-1], report)
    return Published(report, [*paths, folder / "trec"] if "trec" in also else paths)


def _report(
    encoder: TextEncoder,
    evaluation: Evaluation,
    title: str | None,
    untrained: Evaluation | None,
    debias: Mapping[str, Debiaser],
) -> Report:
    """The report, with the encoder's origin and, where its run was watched, the curve."""
    origin = encoder.origin
    facts: dict[str, Any] = {**origin.stated(), "evaluated_with": provenance()}
    if debias:
        facts["debias"] = {method: debiaser.facts.model_dump() for method, debiaser in debias.items()}
    points = curve.read(origin.folder / "eval" / CURVE) if origin.is_run else []
    return build_report(
        title or origin.name,
        evaluation,
        facts,
        label="trained" if origin.is_run else "model",
        untrained=untrained,
        curve=points,
    )


def _languages_trained_on(encoder: TextEncoder) -> set[str] | None:
    """The languages that a run was trained on up to its checkpoint's step; None for any other model."""
    origin = encoder.origin
    trained_on = read_trained_on(origin.folder / "metrics.jsonl", origin.step or 0) if origin.is_run else None
    return set(trained_on.languages) if trained_on else None


def _default_data_dir() -> Path | None:
    from_environment = os.environ.get("HYBRID_JAX_DATA")
    if from_environment:
        return Path(from_environment)
    return Path("../shared/data") if Path("../shared/data").is_dir() else None
