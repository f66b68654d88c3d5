"""Reads a sweep's folder: its arms and seeds, and of every run the report, the values of every query and the cost.

sweep.json                     the arms, the seeds, the tasks, the baseline, what could not be made equal
runs/ARM/seed-S/eval/          report.json and per_query.npz of a finished run
runs/ARM/seed-S/cost.json      seconds, pairs and encoded tokens

A sweep may be unfinished: `Sweep.missing` names the runs without an evaluation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from hybrid_jax.eval.measures import per_query
from hybrid_jax.eval.report.schema import Report

Model = TypeVar("Model", bound=BaseModel)


class _Stated(BaseModel):
    """A part of a JSON file that another program may add fields to."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Arm(_Stated):
    """One recipe of the sweep."""

    name: str
    """Also the name of its folder."""
    overrides: dict[str, Any] = {}
    """The fields of the config that it sets, by their dotted names."""
    axis: dict[str, Any] = {}
    """Where it lies on the sweep's axes; empty for an arm beside them."""


class Stated(_Stated):
    """sweep.json."""

    version: Literal[1]
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    tasks: tuple[str, ...] = ()
    baseline: tuple[str, ...] = ()
    """The arms that the others are tested against. The file has a name, a list of them, or null for the first arm."""
    unequal: tuple[str, ...] = ()
    """What could not be made equal between the arms, in sentences."""
    command: str = ""
    base: dict[str, Any] = {}
    """The config that every arm starts from."""

    @field_validator("baseline", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return () if value is None else (value,) if isinstance(value, str) else value


class Cost(_Stated):
    """cost.json: what one run took; None for what was not counted."""

    seconds_train: float | None = None
    seconds_eval: float | None = None
    pairs: int | None = None
    tokens: int | None = None
    """Encoded tokens."""
    host: str | None = None


@dataclass(frozen=True)
class Run:
    """A run that was evaluated."""

    seed: int
    report: Report
    tables: Mapping[str, per_query.Table]
    """Every query's values, by task key."""
    cost: Cost


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
    stated: Stated
    runs: Mapping[str, tuple[Run, ...]]
    """The evaluated runs of every arm that has some, in the sweep's order."""
    missing: tuple[Missing, ...]

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The arms that have evaluated runs."""
        return tuple(arm for arm in self.stated.arms if arm.name in self.runs)

    @property
    def baselines(self) -> tuple[str, ...]:
        """The arms that the others are tested against."""
        return self.stated.baseline or (self.stated.arms[0].name,)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The keys of the tasks that are ranked in full and that every evaluated run has."""
        runs = [run for group in self.runs.values() for run in group]
        return tuple(key for key in runs[0].tables if all(key in run.tables for run in runs))


def read_sweep(folder: Path) -> Sweep:
    """The sweep in `folder`. Raises ValueError in one line for a damaged file, or if no run is evaluated yet."""
    path = folder / "sweep.json"
    if not path.is_file():
        raise ValueError(f"{folder} is no sweep (it has no sweep.json): name the folder that a sweep was given")
    stated = _read(path, Stated, "restore it, or start the sweep in another folder")
    names = [arm.name for arm in stated.arms]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"{path}: arms {names}: give at least one, and each a name of its own")
    unknown = [name for name in stated.baseline if name not in names]
    if unknown:
        raise ValueError(f"{path}: baseline {unknown[0]!r} is no arm: choose of {', '.join(names)}")
    runs: dict[str, tuple[Run, ...]] = {}
    missing: list[Missing] = []
    for name in names:
        evaluated = []
        for seed in stated.seeds:
            run = folder / "runs" / name / f"seed-{seed}"
            if (run / "eval" / "report.json").is_file() and (run / "eval" / per_query.FILE_NAME).is_file():
                evaluated.append(_run(run, seed))
            else:
                missing.append(Missing(name, seed, _state(run)))
        if evaluated:
            runs[name] = tuple(evaluated)
    if not runs:
        raise ValueError(f"{folder}: none of its {len(missing)} runs is evaluated yet: finish one first")
    return Sweep(folder, stated, runs, tuple(missing))


def _run(folder: Path, seed: int) -> Run:
    fix = f"evaluate the run again (python -m hybrid_jax.eval --ckpt {folder})"
    cost = folder / "cost.json"
    return Run(
        seed=seed,
        report=_read(folder / "eval" / "report.json", Report, fix),
        tables=per_query.read(folder / "eval" / per_query.FILE_NAME),
        cost=_read(cost, Cost, "restore or remove it") if cost.is_file() else Cost(),
    )


def _state(run: Path) -> str:
    if not (run / "config.yaml").is_file():
        return "not started"
    saved = run / "checkpoints"
    return "begun, not evaluated" if saved.is_dir() and any(saved.iterdir()) else "begun, no checkpoint yet"


def _read(path: Path, model: type[Model], fix: str) -> Model:
    try:
        return model.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ValueError(f"{path}: {place}: {first['msg']}: {fix}") from None
