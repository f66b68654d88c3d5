"""One evaluation in three steps: open the tasks, measure an encoder on them, publish the report and its files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from hybrid_jax.data.languages import tag_or_code
from hybrid_jax.data.records import DataError
from hybrid_jax.debias.methods import Debiaser, Method
from hybrid_jax.debias.texts import all_texts, fit_all, read_text
from hybrid_jax.embed.encoder import TextEncoder
from hybrid_jax.eval import bitext, pools
from hybrid_jax.eval.evaluation import Evaluation
from hybrid_jax.eval.full_ranking import run
from hybrid_jax.eval.measures import per_query
from hybrid_jax.eval.opened import TasksByName, languages_and_texts, open_tasks, ranked
from hybrid_jax.eval.report import figures, mteb_results
from hybrid_jax.eval.report.build import Report, build_report, write_report
from hybrid_jax.eval.report.trec import TrecWriter
from hybrid_jax.eval.tasks import UNKNOWN_LANGUAGE, BitextTask, RetrievalTask, SearchTask
from hybrid_jax.eval.variants import CSLS, debiased
from hybrid_jax.eval.variants import csls as by_csls
from hybrid_jax.eval.watch import curve
from hybrid_jax.eval.zeros import ZERO_WARNING, with_warnings, zero_tasks
from hybrid_jax.runs.provenance import provenance
from hybrid_jax.runs.trained_on import read_trained_on

__all__ = ["Published", "TasksByName", "fit_debiasing", "measure", "open_tasks", "publish", "report"]
CURVE = "curve.jsonl"


class Published(NamedTuple):
    """A report, and the files and folders that were written."""

    report: Report
    paths: list[Path]


def fit_debiasing(
    encoder: TextEncoder, methods: Sequence[Method], files: Sequence[Path], per_language: int, opened: TasksByName
) -> dict[str, Debiaser]:
    """Fits each method on the files' texts in the tasks' languages, except the texts that the tasks hold.

    The corpora of searched tasks are read once for it. Raises DataError for files that lack a language of the tasks,
    and for tasks that do not say which languages their texts are in.
    """
    if not files:
        raise DataError("--debias needs texts to be fitted on: name some with --debias-text (see docs/debiasing.md)")
    codes, evaluated = languages_and_texts(opened, all_texts(files))
    languages = set(map(tag_or_code, codes))  # as the files' languages are read
    if UNKNOWN_LANGUAGE in codes:
        raise DataError(
            f"--debias needs the language of every text, and {', '.join(opened)} has texts without: give each line of "
            'its corpus and queries a "lang", or leave --debias out'
        )
    if "shift" in methods and "en" not in languages:
        raise DataError(
            "--debias shift moves all languages towards English, and the tasks have no English: leave it out"
        )
    return fit_all(encoder, methods, read_text(files, evaluated, per_language, languages))


def measure(
    encoder: TextEncoder,
    opened: TasksByName,
    say: Callable[[str], None] = lambda line: None,
    *,
    debias: Mapping[str, Debiaser] | None = None,
    csls: bool = False,
    cutoffs: Sequence[int] = (),
    trec: TrecWriter | None = None,
    stores: pools.Stores | None = None,
    warn: Callable[[str], None] = lambda line: None,
) -> Evaluation:
    """Evaluates the encoder on all tasks, after each debiasing too, and with `csls` once more by CSLS.

    `say` is called with a line of progress, `trec` with every ranking; `stores` keeps the embeddings of searched pools.
    Searched pools are scored at `cutoffs` too.
    `warn` is called with a line for each task whose every figure is 0, and its result says so too. Raises ValueError
    for embeddings and figures that are not finite.
    """
    trained_on = _languages_trained_on(encoder)
    variants = {name: debiased(debiaser) for name, debiaser in (debias or {}).items()}
    if csls:
        variants[CSLS] = by_csls()
    watch = trec and trec.ranked
    evaluation = run(encoder, ranked(opened), say, variants=variants, trained_on=trained_on, watch=watch)
    found: dict[str, dict[str, pools.Measured]] = {}
    mined: dict[str, dict[str, bitext.Measured]] = {}
    sources = dict(evaluation.sources)
    for name, group in opened.items():
        results = {
            task.name: pools.measure(
                *(encoder, task, variants),
                store=stores and stores.fill(encoder, task, say),
                watch=trec and partial(trec.searched, name),
                cutoffs=cutoffs,
            )
            for task in group
            if isinstance(task, SearchTask)
        }
        if results:
            precision = f"; embeddings kept as {stores.dtype}" if stores and stores.dtype != "float32" else ""
            mean_of = f"{name}, the mean over {len(results)} pools{precision}"
            first = next(iter(results.values()))
            about = mean_of if len(results) > 1 else first[""].result.about
            found[name] = {
                label: pools.together(about, {task: each[label] for task, each in results.items()}, trained_on)
                for label in first
            }
        for task in group:
            if isinstance(task, BitextTask):
                mined[name] = bitext.measure(encoder, task, debias, csls=csls)
        others = [task for task in group if not isinstance(task, RetrievalTask)]
        if others:
            sources[name] = {f"{task.name}/{file}": sha256 for task in others for file, sha256 in task.sources.items()}
    evaluation = _with_others(replace(evaluation, sources=sources), found, mined)
    zeros = zero_tasks(evaluation)
    for key in zeros:
        warn(f"warning: {key}: {ZERO_WARNING}")
    return with_warnings(evaluation, zeros)


def _with_others(
    evaluation: Evaluation,
    found: Mapping[str, Mapping[str, pools.Measured]],
    mined: Mapping[str, Mapping[str, bitext.Measured]],
) -> Evaluation:
    """The evaluation with its searched pools and mined bitext: {task: {variant, "" for the model itself: result}}."""

    def tables(name: str) -> dict[str, per_query.Table]:
        return {key: results[name].per_query for each in (found, mined) for key, results in each.items()}

    return replace(
        evaluation,
        per_query={**evaluation.per_query, **tables("")},
        searches={key: results[""].result for key, results in found.items()},
        bitext={key: results[""].result for key, results in mined.items()},
        beside={
            name: replace(
                beside,
                searches={key: results[name].result for key, results in found.items()},
                bitext={key: results[name].result for key, results in mined.items()},
                per_query={**beside.per_query, **tables(name)},
            )
            for name, beside in evaluation.beside.items()
        },
    )


def report(encoder: TextEncoder, evaluation: Evaluation, *, untrained: Evaluation | None = None) -> Report:
    """The report of an evaluation, without writing anything."""
    return _report(encoder, evaluation, None, untrained, {})


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

    What is shown beside the model has its values in per_query-NAME.npz, and each of `debias` is written beside them.
    `also` names more to write: "figures" and "mteb". The paths are those of what was written: a folder of figures is
    not among them where no task has any. `untrained` is the same model before training, shown beside it.
    """
    made = _report(encoder, evaluation, title, untrained, debias or {})
    paths = [*write_report(folder, made), folder / per_query.FILE_NAME]
    per_query.write(paths[-1], evaluation.per_query)
    for earlier in folder.glob(per_query.file_name_of("*")):
        earlier.unlink()
    beside = dict(evaluation.beside) | ({} if untrained is None else {"untrained": untrained.as_beside()})
    for name, other in beside.items():
        paths.append(folder / per_query.file_name_of(name))
        per_query.write(paths[-1], other.per_query)
    for method, debiaser in (debias or {}).items():
        paths.append(folder / f"debias-{method}.npz")
        debiaser.save(paths[-1])
    for kind, write in (("figures", figures.write), ("mteb", mteb_results.write)):
        if kind in also and write(folder / kind, made):
            paths.append(folder / kind)
    return Published(made, paths)


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
