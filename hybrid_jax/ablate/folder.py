"""A sweep's folder on disk: its plan, its runs in the order of work, and what each has cost.

sweep.json                 the plan: base config, tasks, seeds, arms, and what is not equal between them
runs/ARM/seed-S/           an ordinary run's folder, with its report in eval/; train.log and eval.log
runs/ARM/seed-S/cost.json  written last: the run is finished
leases/                    which worker does, or did, which run
leakage.json               which evaluation texts are in the training data, unless it is evaluated on the demo alone
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hybrid_jax.ablate.arms import Arm, Names
from hybrid_jax.disk.files import write_text
from hybrid_jax.runs.workdir import read_log

PLAN, COST, CONFIG, LEAKAGE = "sweep.json", "cost.json", "config.yaml", "leakage.json"


class SweepError(ValueError):
    """A folder that holds no sweep, another sweep, or a damaged one; one line says what to do."""


class Plan(BaseModel):
    """The whole of sweep.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    base: dict[str, Any]
    """The resolved base config."""
    tasks: list[str]
    seeds: list[int]
    baseline: Names
    """The arms that the others are tested against; empty for the first arm."""
    arms: list[Arm] = Field(min_length=1)
    debias: list[str] = []
    """Post-hoc debiasing that each run is evaluated after, too."""
    debias_text: list[str] = []
    """The files that it is fitted on, as requested."""
    skip_bad_rows: bool
    unequal: list[str]
    """Sentences: what is not equal between the arms' configs, besides what the sweep varies."""
    command: str
    """The command that made the sweep, or the last one that added to it."""

    @model_validator(mode="after")
    def _check_baseline(self) -> "Plan":
        names = [arm.name for arm in self.arms]
        unknown = [name for name in self.baseline if name not in names]
        if unknown:
            raise ValueError(f"baseline {unknown[0]!r} is no arm: choose of {', '.join(names)}")
        return self

    @property
    def baselines(self) -> list[str]:
        """The arms that the others are tested against."""
        return self.baseline or [self.arms[0].name]

    def tested(self, baseline: str) -> list[str]:
        """The arms that are tested against a baseline: those of its group, and of groups without a baseline."""
        groups = {arm.name: arm.group for arm in self.arms}
        with_one = [groups[name] for name in self.baselines]
        return [
            arm
            for arm, group in groups.items()
            if arm != baseline and (group == groups[baseline] or group not in with_one)
        ]

    @property
    def grouped(self) -> bool:
        """Whether arms of different groups have different baselines."""
        groups = {arm.name: arm.group for arm in self.arms}
        return any(groups[name] != groups[self.baselines[0]] for name in self.baselines)


class Cost(BaseModel):
    """What a finished run has cost, over all its starts: the whole of cost.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds_train: float
    seconds_eval: float
    pairs: int
    """Pairs trained on, from the run's log."""
    tokens: int
    """Tokens encoded in training, from the run's log; padding is not counted."""
    host: str
    """The machine that finished the run."""


class Run(NamedTuple):
    """One run of a sweep."""

    arm: str
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.arm} seed-{self.seed}"

    @property
    def finished(self) -> bool:
        return (self.folder / COST).is_file()

    @property
    def steps(self) -> int:
        """The steps that its config asks for. Raises SweepError when it has no config."""
        return _steps(self.folder / CONFIG)


def runs(sweep: Path, plan: Plan) -> list[Run]:
    """All runs in the order of work: every arm with the first seed, then with the next."""
    return [Run(arm.name, seed, sweep / "runs" / arm.name / f"seed-{seed}") for seed in plan.seeds for arm in plan.arms]


def read_plan(sweep: Path) -> Plan | None:
    """The plan in the folder; None where there is no sweep. Raises SweepError for one that cannot be read."""
    path = sweep / PLAN
    try:
        return Plan.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        reason = " ".join(str(error).split())
        raise SweepError(f"{path} is damaged ({reason}): restore it, or use another --workdir") from None


def write_plan(sweep: Path, plan: Plan) -> None:
    write_text(sweep / PLAN, json.dumps(plan.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n")


def read_cost(run: Run) -> Cost | None:
    """What a run has cost; None while it is not finished. Raises SweepError for a damaged file."""
    path = run.folder / COST
    try:
        return Cost.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        reason = " ".join(str(error).split())
        raise SweepError(f"{path} is damaged ({reason}): delete it, and the sweep finishes the run again") from None


def log_lines(run: Run) -> Iterator[dict[str, Any]]:
    """A run's log, a step each; a last line that is not complete is left out. Raises WorkdirError for a damaged one."""
    yield from (record for _, record in read_log(run.folder / "metrics.jsonl"))


def steps_done(run: Run) -> int:
    """The steps that a run has logged, read from the end of its log."""
    try:
        with (run.folder / "metrics.jsonl").open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 65_536))
            complete = file.read().rpartition(b"\n")[0].rpartition(b"\n")[2]
        return int(json.loads(complete)["step"]) + 1
    except (OSError, ValueError, KeyError):
        return 0


@cache
def _steps(path: Path) -> int:
    try:
        return int(yaml.safe_load(path.read_text(encoding="utf-8"))["steps"])
    except FileNotFoundError:
        raise SweepError(f"{path} is missing: give the command in {PLAN} again, which writes it") from None
