"""What a sweep has found so far: its plan, and of every evaluated run the report, the values of every query, the cost.

A sweep may be unfinished: `Sweep.missing` names the runs without an evaluation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from hybrid_jax.ablate.arms import Arm
from hybrid_jax.ablate.budget import found_unequal
from hybrid_jax.ablate.folder import COST, LEAKAGE, PLAN, Cost, Plan, Run, read_cost, read_plan, runs, steps_done
from hybrid_jax.eval.leakage.result import Leakage, read_leakage
from hybrid_jax.eval.measures import per_query
from hybrid_jax.eval.measures.parts import Part
from hybrid_jax.eval.report.schema import Headline, RankedResult, Report

OTHER_PARTS: tuple[Part, ...] = ("search", "bitext")


@dataclass(frozen=True)
class Evaluated:
    """A run that was evaluated."""

    seed: int
    report: Report
    tables: Mapping[str, per_query.Table]
    """Every query's values, by task key."""
    cost: Cost | None
    """None while the run is evaluated but not finished."""


@dataclass(frozen=True)
class Missing:
    """A run without an evaluation."""

    arm: str
    seed: int
    state: str
    """How far it is, in a few words."""


@dataclass(frozen=True)
class Sweep:
    """A sweep's folder as it is now."""

    folder: Path
    plan: Plan
    """With an arm ARM+METHOD after each arm for every method of `debias`."""
    runs: Mapping[str, tuple[Evaluated, ...]]
    """The evaluated runs of every arm that has some, in the sweep's order."""
    missing: tuple[Missing, ...]
    unequal: tuple[str, ...]
    """Sentences: what is not equal between the arms besides what the sweep varies, by the plan and by the runs."""
    leakage: Leakage | None
    """Whether training had evaluation texts; None where it was not checked, as of a sweep on the demo alone."""

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The arms that have evaluated runs."""
        return tuple(arm for arm in self.plan.arms if arm.name in self.runs)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The keys of the tasks that are ranked in full and that every evaluated run has."""
        return tuple(key for key in self._shared() if self._first().tables[key].multilingual)

    @property
    def other_tasks(self) -> tuple[str, ...]:
        """The keys of the searched pools, then of the mined bitext, that every evaluated run has."""
        first = self._first().tables
        return tuple(key for part in OTHER_PARTS for key in self._shared() if first[key].part(part))

    @property
    def tasks_of_some(self) -> tuple[str, ...]:
        """The keys of tasks that some runs have and others lack."""
        shared = self._shared()
        return tuple(dict.fromkeys(key for keys in self._keys() for key in keys if key not in shared))

    def _shared(self) -> list[str]:
        keys = self._keys()
        return [key for key in keys[0] if all(key in others for others in keys)]

    def _keys(self) -> list[list[str]]:
        """The keys of the tasks of each run."""
        return [list(run.tables) for group in self.runs.values() for run in group]

    def _first(self) -> Evaluated:
        return next(iter(self.runs.values()))[0]


def read_sweep(folder: Path) -> Sweep:
    """The sweep in `folder`. Raises ValueError in one line for a damaged file, or if no run is evaluated yet."""
    plan = read_plan(folder)
    if plan is None:
        raise ValueError(f"{folder} is no sweep (it has no {PLAN}): name the folder that a sweep was given")
    evaluated: dict[str, list[Evaluated]] = {arm.name: [] for arm in plan.arms}
    missing: list[Missing] = []
    damaged: dict[Run, ValueError] = {}
    for run in runs(folder, plan):
        if not all((run.folder / "eval" / name).is_file() for name in ("report.json", per_query.FILE_NAME)):
            missing.append(Missing(run.arm, run.seed, _state(run)))
            continue
        try:
            evaluated[run.arm].append(_evaluated(run))
        except ValueError as error:
            damaged[run] = error
    if damaged:
        first, *others = damaged
        also = ", ".join(str(run.folder / COST) for run in others)
        raise ValueError(f"{damaged[first]}{f'; the same of {also}' if others else ''}")
    if len(missing) == len(plan.arms) * len(plan.seeds):
        raise ValueError(f"{folder}: none of its {len(missing)} runs is evaluated yet: finish one first")
    leakage = read_leakage(folder / LEAKAGE) if (folder / LEAKAGE).is_file() else None
    unequal = (*plan.unequal, *found_unequal(folder, plan))
    plan, evaluated = _with_debiased(folder, plan, evaluated)
    with_runs = {arm: tuple(group) for arm, group in evaluated.items() if group}
    return Sweep(folder, plan, with_runs, tuple(missing), unequal, leakage)


def _with_debiased(
    folder: Path, plan: Plan, evaluated: Mapping[str, list[Evaluated]]
) -> tuple[Plan, dict[str, list[Evaluated]]]:
    """The plan and the runs with an arm for every method after which an arm's vectors were evaluated."""
    if not plan.debias:
        return plan, dict(evaluated)
    arms: list[Arm] = []
    runs_by_arm: dict[str, list[Evaluated]] = {}
    for arm in plan.arms:
        arms.append(arm.model_copy(update={"axis": arm.axis | {"debias": "none"}}))
        runs_by_arm[arm.name] = evaluated[arm.name]
        for method in plan.debias:
            name = f"{arm.name}+{method}"
            base = f"{arm.base}+{method}" if arm.base else ""
            arms.append(
                arm.model_copy(
                    update={"name": name, "axis": arm.axis | {"debias": method}, "base": base, "debias": method}
                )
            )
            files = {
                run.seed: folder / "runs" / arm.name / f"seed-{run.seed}" / "eval" / per_query.file_name_of(method)
                for run in evaluated[arm.name]
            }
            runs_by_arm[name] = [
                _debiased(run, method, files[run.seed]) for run in evaluated[arm.name] if files[run.seed].is_file()
            ]
    return plan.model_copy(update={"arms": arms}), runs_by_arm


def _debiased(run: Evaluated, method: str, values: Path) -> Evaluated:
    """The run as evaluated after a method: its means, and the file with its values of every query."""
    report = run.report
    tasks = {key: _replaced(result, report.others[method][key]) for key, result in report.tasks.items()}
    beside = {"searches": report.other_searches.get(method, {}), "bitext": report.other_bitext.get(method, {})}
    tables = per_query.read(values, _fix(values.parents[1]))
    return replace(run, report=report.model_copy(update={"tasks": tasks, **beside}), tables=tables)


def _replaced(result: RankedResult, other: Headline) -> RankedResult:
    """The result with the headline of the other, its metrics included."""
    fields = {name: getattr(other, name) for name in Headline.model_fields}
    return result.model_copy(update=fields | other.metrics)


def _evaluated(run: Run) -> Evaluated:
    return Evaluated(
        seed=run.seed,
        report=_report(run),
        tables=per_query.read(run.folder / "eval" / per_query.FILE_NAME, _fix(run.folder)),
        cost=read_cost(run),
    )


def _fix(folder: Path) -> str:
    """What to do about a damaged evaluation of the run in `folder`."""
    return f"delete {folder / COST}, and the sweep's command evaluates the run again"


def _state(run: Run) -> str:
    if not (run.folder / "train.log").is_file():
        return "not started"
    done = steps_done(run)
    return f"begun, {done} of {run.steps} steps" if done < run.steps else "trained, not evaluated"


def _report(run: Run) -> Report:
    path = run.folder / "eval" / "report.json"
    try:
        return Report.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ValueError(f"{path}: {place}: {first['msg']}: {_fix(run.folder)}") from None
