"""A search over fields of the config by Optuna: ordinary runs, compared by their accuracy on held-out training data.

search.json        what is searched: base config, ranges, the command
base.yaml          a copy of the config's file as it was when the search began, from which every trial's is made
journal.log        Optuna's record of all trials
trials/NUMBER/     an ordinary run's folder each, with train.log
trials.csv, page/  all trials, the best first; written again after each

No benchmark takes part: hyperparameters that were chosen on a benchmark flatter it. Values are proposed by the
tree-structured Parzen estimator (Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization), seeded by the base
config's seed and the trial's number, so that a search that was stopped goes on as if it had not been.
"""

import json
import os
import shlex
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from hybrid_jax.ablate.budget import NO_MATTER
from hybrid_jax.ablate.folder import CONFIG, PLAN, Run, SweepError, log_lines
from hybrid_jax.ablate.phases import last_line, start, stop
from hybrid_jax.ablate.plan import load_alike
from hybrid_jax.ablate.request import Request, RequestError
from hybrid_jax.ablate.trials import Trial, write_trials
from hybrid_jax.config import ConfigError, dump_config, load_config
from hybrid_jax.disk.files import write_text
from hybrid_jax.runs.lock import one_trainer

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

SEARCH, BASE, JOURNAL = "search.json", "base.yaml", "journal.log"
MEASURE = "heldout_accuracy"
CHANGES_MEASURE = ("seed", "batch_size", "data", "mixture", "loss.positives", "loss.negatives")
"""What decides which held-out batches there are, or what accuracy means in them."""


class SearchPlan(BaseModel):
    """The whole of search.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    base: dict[str, Any]
    """The resolved base config."""
    config: Path
    set: dict[str, Any]
    """Fields that the command set for all trials, on top of the config's file."""
    ranges: dict[str, str | list[Any]]
    skip_bad_rows: bool
    trials: int
    """How many to make."""
    command: str


def make_plan(wanted: Request, command: str) -> SearchPlan:
    """The plan of a request with `search`. Raises RequestError or ConfigError, with a line for each problem."""
    if wanted.config is None:
        raise RequestError("no base config: give --config configs/demo.yaml")
    if wanted.search is None or wanted.search < 1 or not wanted.ranges:
        raise RequestError("a search needs a number of trials and a range: --search 20 --range FIELD=LOW:HIGH")
    if (
        wanted.grid
        or wanted.arms
        or wanted.languages_curve
        or wanted.baseline
        or wanted.seeds != 1
        or wanted.tasks != ["demo"]
        or wanted.debias
    ):
        raise RequestError(
            "--search has no grid, arms, seeds, tasks, baseline or debiasing: search on held-out data, then sweep with "
            "the best"
        )
    for field in wanted.ranges:
        if any(field == part or field.startswith(f"{part}.") for part in CHANGES_MEASURE):
            raise RequestError(f"--range {field}: held-out accuracies would not compare between its values: use --grid")
        if field == "steps" or any(field == part or field.startswith(f"{part}.") for part in NO_MATTER):
            raise RequestError(f"--range {field}: no field to search: it is a matter of cost, not of what is better")
    base = load_alike(wanted.config, wanted.set)
    if not base.heldout_every:
        raise RequestError(
            "--search compares trials on held-out training data, and there is none: "
            "set --heldout_every 100 --data.heldout_fraction 0.05"
        )
    for field, value in wanted.ranges.items():
        for end in _ends(field, value):
            load_config(wanted.config, fields=wanted.set | {field: end})
    return SearchPlan(
        base=base.model_dump(mode="json"),
        config=wanted.config,
        set=wanted.set,
        ranges=wanted.ranges,
        skip_bad_rows=wanted.skip_bad_rows,
        trials=wanted.search,
        command=command,
    )


def read_search(folder: Path) -> SearchPlan | None:
    """The plan in the folder, None if it has none. Raises SweepError for one that cannot be read."""
    try:
        return SearchPlan.model_validate_json((folder / SEARCH).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        reason = " ".join(str(error).split())
        raise SweepError(f"{folder / SEARCH} is damaged ({reason}): restore it, or use another --workdir") from None


def search(folder: Path, plan: SearchPlan, say: Callable[[str], None]) -> None:
    """Makes trials until there are `plan.trials`; those that are there count, and an interrupted one is resumed.

    Raises SweepError when the folder has another search or a sweep, optuna is missing, or no trial was successful;
    WorkdirError when another process searches there.
    """
    _check_folder(folder, plan)
    with one_trainer(folder):
        if not (folder / BASE).exists():
            write_text(folder / BASE, plan.config.read_text(encoding="utf-8"))
        write_text(folder / SEARCH, json.dumps(plan.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n")
        study = _study(folder)
        listed = _trials(study)
        while (number := _next(study, plan)) is not None:
            fields = study.trials[number].params
            value, failure = _train(folder / "trials" / f"{number:04d}", plan, fields)
            _tell(study, number, value)
            listed = _trials(study)
            write_trials(folder, listed, plan.command)
            result = failure or f"held-out accuracy {value:.4f}"
            say(f"trial {number:04d}, {number + 1} of {plan.trials}: {result}, {_listed(fields)}")
        best = next((trial for trial in listed if trial.value is not None), None)
        if best is None:
            raise SweepError(f"no trial was successful: see the train.log of each in {folder / 'trials'}")
        page = write_trials(folder, listed, plan.command)
        words = [word for field, value in best.fields.items() for word in (f"--{field}", json.dumps(value))]
        say(f"best: trial {best.number:04d}, held-out accuracy {best.value:.4f}: {shlex.join(words)}")
        say(f"page: {page}")


def _ends(field: str, value: str | list[Any]) -> list[Any]:
    """The two ends of a range, of one type, or all choices. Raises RequestError for what is neither."""
    if isinstance(value, list):
        if len(value) < 2 or any(isinstance(choice, list | dict) for choice in value):
            raise RequestError(f"--range {field}={value}: give two or more choices, no lists: {field}=[mean,cls]")
        return value
    low, _, rest = value.partition(":")
    high, _, scale = rest.partition(":")
    for number in (int, float):
        try:
            ends = [number(low), number(high)]
        except ValueError:
            continue
        if ends[0] < ends[1] and scale in ("", "log") and (scale == "" or ends[0] > 0):
            return ends
    raise RequestError(
        f"--range {field}={value}: give LOW:HIGH with LOW < HIGH, LOW:HIGH:log with LOW > 0, or choices [a,b]"
    )


def _distribution(field: str, value: str | list[Any]) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    ends = _ends(field, value)
    if isinstance(value, list):
        return CategoricalDistribution(ends)
    log = value.endswith(":log")
    number = IntDistribution if isinstance(ends[0], int) else FloatDistribution
    return number(ends[0], ends[1], log=log)


def _check_folder(folder: Path, plan: SearchPlan) -> None:
    if (folder / PLAN).exists():
        raise SweepError(f"{folder} holds a sweep, no search: choose another --workdir")
    existing = read_search(folder)
    if existing is None:
        return
    changed = [name for name in ("base", "ranges", "skip_bad_rows") if getattr(existing, name) != getattr(plan, name)]
    if changed:
        raise SweepError(
            f"{folder} holds another search ({', '.join(changed)} differs): give its own options to go on with it "
            f"(--workdir {folder} alone does), or another --workdir"
        )


def _study(folder: Path) -> "Study":
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError:
        raise SweepError("--search needs Optuna: pip install 'hybrid_jax[search]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    return optuna.create_study(storage=storage, study_name="search", direction="maximize", load_if_exists=True)


def _next(study: "Study", plan: SearchPlan) -> int | None:
    """The number of the next trial to train: one that was interrupted, or a new one; None when there are enough."""
    from optuna.samplers import TPESampler

    trials = study.trials
    for trial in trials:
        if not trial.state.is_finished():
            return trial.number
    if len(trials) >= plan.trials:
        return None
    study.sampler = TPESampler(seed=plan.base["seed"] + len(trials))
    return study.ask({field: _distribution(field, value) for field, value in plan.ranges.items()}).number


def _tell(study: "Study", number: int, value: float | None) -> None:
    from optuna.trial import TrialState

    study.tell(number, value, state=TrialState.FAIL if value is None else TrialState.COMPLETE)


def _train(folder: Path, plan: SearchPlan, fields: Mapping[str, Any]) -> tuple[float | None, str]:
    """Trains a trial's run by the ordinary command: (held-out accuracy at its last step, ""), or (None, why not)."""
    try:
        config = load_alike(folder.parents[1] / BASE, plan.set | dict(fields))
    except ConfigError as error:
        return None, f"failed: {error}"
    if not (folder / CONFIG).exists():
        write_text(folder / CONFIG, dump_config(config))
    log = folder / "train.log"
    arguments = ["-m", "hybrid_jax.train", "--config", str(folder / CONFIG), "--workdir", str(folder)]
    arguments += ["--skip-bad-rows"] if plan.skip_bad_rows else []
    with log.open("ab") as output:
        os.write(output.fileno(), f"$ python {shlex.join(arguments)}\n".encode())
        child = start(arguments, output.fileno())
        try:
            status = child.wait()
        except KeyboardInterrupt as interrupt:
            stop(child, interrupt.args[0] if interrupt.args else signal.SIGINT)
            raise
    if status:
        return None, f"failed, see {log}: {last_line(log)}"
    return list(_measured(folder))[-1], ""


def _measured(folder: Path) -> Iterator[float]:
    """Every held-out accuracy in a run's log."""
    return (line[MEASURE] for line in log_lines(Run("", 0, folder)) if MEASURE in line)


def _trials(study: "Study") -> list[Trial]:
    """All finished trials, the best first, those that failed last."""
    finished = [trial for trial in study.trials if trial.state.is_finished()]
    listed = [Trial(trial.number, trial.value, dict(trial.params)) for trial in finished]
    return sorted(listed, key=lambda trial: (trial.value is None, -(trial.value or 0.0), trial.number))


def _listed(fields: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{field} {value:.4g}" if isinstance(value, float) else f"{field} {value}" for field, value in fields.items()
    )
