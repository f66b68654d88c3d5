"""One evaluation from end to end: tasks by name, every kind of task, the report and all the files.

Knows: the three kinds of tasks and who evaluates each, what of an encoder a report states, which files there are. Does
not know: arguments (`__main__.py`), where the model comes from, how anything is measured or drawn.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hybrid_jax.data.records import DataError
from hybrid_jax.debias.methods import Debiaser, Method
from hybrid_jax.debias.texts import fit_all, read_text
from hybrid_jax.embed.encoder import TextEncoder
from hybrid_jax.eval import bitext, tasks
from hybrid_jax.eval import pools as searching
from hybrid_jax.eval.full_ranking import run
from hybrid_jax.eval.measures import macro, per_query
from hybrid_jax.eval.report import figures, mteb_results
from hybrid_jax.eval.report.build import Report, build_report, write_report
from hybrid_jax.eval.report.trec import TrecWriter
from hybrid_jax.eval.tasks import Task
from hybrid_jax.eval.watch import curve
from hybrid_jax.runs.provenance import provenance
from hybrid_jax.runs.trained_on import read_trained_on

Named = Mapping[str, tuple[Task, ...]]
"""The tasks behind each name asked for."""
CURVE = "curve.jsonl"


def find_tasks(names: str, data_dir: Path | None) -> Named:
    """The tasks behind each of the names, which commas separate.

    Raises DataError for files that are missing or wrong, and for a name that there is not.
    """

    def data() -> Path:
        if data_dir is None:
            raise DataError(f"--tasks {names!r}: they need their official files: give --data-dir (see docs/data.md)")
        return data_dir

    asked = [name.strip() for name in names.split(",") if name.strip()]
    makers = {name: tasks.maker(name) for name in asked or [names]}  # every name is known before any file is read
    named = {name: make(data) for name, make in makers.items()}
    made = Counter(task.name for task in ranked(named))
    twice = [name for name, count in made.items() if count > 1]
    if twice:
        raise DataError(
            f"--tasks {names!r}: two tasks are called {twice[0]!r}: rename a folder, or evaluate them apart"
        )
    return named


def ranked(named: Named) -> list[tasks.RetrievalTask]:
    """Those that are ranked in full."""
    return [task for made in named.values() for task in made if isinstance(task, tasks.RetrievalTask)]


def fit_debiasing(
    encoder: TextEncoder, methods: Sequence[Method], files: Sequence[Path], per_language: int, named: Named
) -> dict[str, Debiaser]:
    """Every method, fitted on the files' texts in the languages of the tasks, none of which the tasks have."""
    if not ranked(named):
        raise DataError(f"--debias: {', '.join(named)} is not ranked in full; ask for a task that is, such as xquad_r")
    if not files:
        raise DataError("--debias needs texts to be fitted on: name some with --debias-text (see docs/debiasing.md)")
    rows = [row for task in ranked(named) for row in (*task.queries, *task.candidates)]
    languages = {row.language for row in rows}
    if "shift" in methods and "en" not in languages:
        raise DataError(
            "--debias shift moves languages to where English is, and the tasks have no English: leave it out"
        )
    evaluated = {query.text for task in ranked(named) for query in task.queries}
    evaluated |= {text for task in ranked(named) for row in task.candidates for text in row.texts}
    return fit_all(encoder, methods, read_text(files, evaluated, per_language, languages))


class Outputs:
    """The files of an evaluation in one folder: the report's always, others as asked for; `tag` names a TREC run."""

    def __init__(self, folder: Path, also: Sequence[str] = (), tag: str = ""):
        self._folder, self._also = folder, also
        self.trec = TrecWriter(folder / "trec", tag) if "trec" in also else None

    def write(
        self, report: Report, tables: Mapping[str, per_query.Table], debias: Mapping[str, Debiaser] | None = None
    ) -> list[Path]:
        """Returns the report's files and the folders of the others."""
        paths = write_report(self._folder, report)
        per_query.write(self._folder / per_query.FILE_NAME, tables)
        for method, debiaser in (debias or {}).items():
            paths.append(self._folder / f"debias-{method}.npz")
            debiaser.save(paths[-1])
        for kind, write in (("figures", figures.write), ("mteb", mteb_results.write)):
            if kind in self._also:
                paths.append(self._folder / kind)
                write(paths[-1], report)
        return [*paths, self._folder / "trec"] if self.trec else paths


def evaluate(
    encoder: TextEncoder,
    named: Named,
    say: Callable[[str], None] = lambda line: None,
    *,
    debias: Mapping[str, Debiaser] | None = None,
    outputs: Outputs | None = None,
    stores: searching.Stores | None = None,
) -> dict[str, Any]:
    """What `runner.run` returns, with "searches" and "bitext" where there are such tasks; `outputs` sees rankings, and
    `stores` keeps the embeddings of searched pools."""
    trec = outputs.trec if outputs else None
    found = run(encoder, ranked(named), say, debias=debias, seen=_seen(encoder), watch=trec and trec.ranked)
    show = trec and trec.searched
    for key, made in named.items():
        pools = [
            searching.evaluate(encoder, task, store=stores and stores.fill(encoder, task, say), watch=show)
            for task in made
            if isinstance(task, tasks.SearchTask)
        ]
        if pools:
            kept = f"; embeddings kept as {stores.dtype}" if stores and stores.dtype != "float32" else ""
            about = f"{key}, the mean over {len(pools)} pools{kept}" if len(pools) > 1 else pools[0]["about"]
            result = searching.together(about, pools)
            result["groups"] = macro.grouped(result["per_language"], searching.METRICS, _seen(encoder))
            found.setdefault("searches", {})[key] = result
        others = [task for task in made if not isinstance(task, tasks.RetrievalTask)]
        if others:
            hashes = {f"{task.name}/{file}": sha256 for task in others for file, sha256 in task.sources.items()}
            found["provenance"]["data_sha256"][key] = hashes
        for task in made:
            if isinstance(task, tasks.BitextTask):
                found.setdefault("bitext", {})[key] = bitext.evaluate(encoder, task)
    return found


def report(
    encoder: TextEncoder,
    found: Mapping[str, Any],
    title: str | None = None,
    *,
    untrained: Mapping[str, Any] | None = None,
    debias: Mapping[str, Debiaser] | None = None,
) -> Report:
    """The report of what `evaluate` found, with what is known of the encoder and, for a watched run, its curve."""
    origin = encoder.origin
    facts = {**origin.stated(), "evaluated_with": provenance()}
    if debias:
        facts["debias"] = {method: debiaser.facts.model_dump() for method, debiaser in debias.items()}
    points = curve.read(origin.folder / "eval" / CURVE) if origin.is_run else []
    return build_report(
        title or origin.name,
        found,
        facts,
        label="trained" if origin.is_run else "model",
        untrained=untrained,
        curve=[point.model_dump(mode="json") for point in points],
    )


def _seen(encoder: TextEncoder) -> set[str] | None:
    """The languages that a run was trained on up to its checkpoint's step; None for any other model."""
    origin = encoder.origin
    trained_on = read_trained_on(origin.folder / "metrics.jsonl", origin.step or 0) if origin.is_run else None
    return set(trained_on.languages) if trained_on else None
