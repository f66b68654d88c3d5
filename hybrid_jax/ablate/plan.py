"""The plan of a sweep: every arm's config resolved and checked, and what is not equal between them; and its folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hybrid_jax.ablate.arms import ALPHA, WEIGHTS, Arm, ArmError, arms
from hybrid_jax.ablate.budget import unequal
from hybrid_jax.ablate.curve import DATASETS, crossed, curve_arms
from hybrid_jax.ablate.folder import CONFIG, LEAKAGE, PLAN, Plan, SweepError, read_plan, runs, write_plan
from hybrid_jax.ablate.request import Request, RequestError
from hybrid_jax.config import Config, ConfigError, differences, dump_config, flat, load_config, parse_config
from hybrid_jax.debias.methods import parse_methods
from hybrid_jax.disk.files import write_text

SHOWN = 6
"""Differences or arms that an error lists."""


class Planned(NamedTuple):
    """A plan, and the config of each arm, whose seed a run replaces by its own."""

    plan: Plan
    configs: dict[str, Config]


def make_plan(sweep_request: Request, command: str) -> Planned:
    """Resolves the request. `command` is what was typed.

    Raises ConfigError, ArmError or RequestError with a line for each problem of any arm, before anything is written.
    """
    if sweep_request.config is None:
        raise RequestError("no base config: give --config configs/demo.yaml, or a sweep file that names one")
    base = load_alike(sweep_request.config, sweep_request.set)
    listed, errors = _arms(sweep_request, base)
    configs: dict[str, Config] = {}
    wrong: dict[str, list[str]] = {}
    for arm in listed:
        try:
            configs[arm.name] = _resolve(sweep_request, arm)
        except ConfigError as error:
            for line in str(error).splitlines():  # the file's name would mislead: the base config is valid
                wrong.setdefault(line.removeprefix(f"{sweep_request.config}: "), []).append(arm.name)
    errors += [f"{line} (in {_some(names)})" for line, names in wrong.items()]
    errors += _same(configs)
    names = [arm.name for arm in listed]
    baselines = [name for wanted in sweep_request.baseline for name in _in_every_group(wanted, listed)]
    for name in dict.fromkeys(baselines):
        if name not in names:
            errors.append(f"baseline {name!r} is no arm: give one of {_some(names)}")
        elif baselines.count(name) > 1:
            errors.append(f"baseline {name!r} is given twice: give it once")
    varied = {field for arm in listed for field in arm.overrides}
    if "seed" in varied:
        errors.append("seed is no field to vary: give --seeds")
    if errors:
        raise ArmError("\n".join(dict.fromkeys(errors)))
    seeds = sweep_request.seeds
    if isinstance(seeds, int):
        seeds = [base.seed + number for number in range(seeds)]
    plan = Plan(
        base=base.model_dump(mode="json"),
        tasks=sweep_request.tasks,
        seeds=seeds,
        baseline=baselines,
        arms=listed,
        debias=list(parse_methods(",".join(sweep_request.debias))) if sweep_request.debias else [],
        debias_text=sweep_request.debias_text,
        skip_bad_rows=sweep_request.skip_bad_rows,
        unequal=unequal({name: fields_of(config) for name, config in configs.items()}),
        command=command,
    )
    return Planned(plan, configs)


def write(sweep: Path, planned: Planned) -> None:
    """Writes the plan and each run's config.yaml where it is missing, unless the folder has this plan already.

    Raises SweepError as `continued` does, and when the folder has a run with another config; then nothing is written.
    """
    plan, existing = continued(sweep, planned.plan), read_plan(sweep)
    configs = {
        run.folder / CONFIG: planned.configs[run.arm].model_copy(update={"seed": run.seed})
        for run in runs(sweep, planned.plan)
    }
    missing = [path for path in configs if not path.exists()]
    for path in configs.keys() - missing:
        if not _is_of(configs[path], path.read_text(encoding="utf-8")):
            raise SweepError(
                f"{path} is not the config of this run: move {path.parent} away, or choose another --workdir"
            )
    for path in missing:
        write_text(path, dump_config(configs[path]))
    if existing is None or _identity(existing) != _identity(plan):
        write_plan(sweep, plan)
        if existing is not None and len(plan.arms) > len(existing.arms):
            (sweep / LEAKAGE).unlink(missing_ok=True)  # the new arms may read other text


def continued(sweep: Path, plan: Plan) -> Plan:
    """The plan that the folder has when `plan` is asked for there: `plan`, or the folder's own with what `plan` adds.

    A request may have fewer or more arms and seeds than the folder, and another baseline. Raises SweepError when the
    folder has another plan, naming each field that differs, or files but no sweep.
    """
    names = [path.name for path in sweep.iterdir()] if sweep.is_dir() else []
    existing = read_plan(sweep)  # after the names: another worker may be writing it
    if existing is None:
        other_files = sorted(
            name for name in names if name not in ("runs", "leases") and not name.startswith(f".{PLAN}.")
        )
        if other_files or (sweep.exists() and not sweep.is_dir()):
            what = f"holds {other_files[0]}, but no sweep" if other_files else "is no folder"
            raise SweepError(f"{sweep} {what}: choose another --workdir")
        return plan
    old, new = _identity(existing), _identity(plan)
    pairs = [(set(old[name]), set(new[name])) for name in ("arms", "seeds")]
    grown, shrunk = all(has <= asked for has, asked in pairs), all(has >= asked for has, asked in pairs)
    may_differ = {"baseline"}
    if grown or shrunk:
        may_differ |= {"arms", "seeds", *(f"arms.{name}" for name in set(old["arms"]) ^ set(new["arms"]))}
    changed = [name for name in {**old, **new} if name not in may_differ and old.get(name) != new.get(name)]
    if changed:
        listed = "; ".join(f"{name}: {old.get(name)} -> {new.get(name)}" for name in changed[:SHOWN])
        more = f"; and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
        raise SweepError(
            f"{sweep} holds another sweep ({listed}{more}): give its own options to go on with it "
            f"(--workdir {sweep} alone does), with more arms and seeds if you like, or another --workdir"
        )
    if not grown:
        return existing.model_copy(update={"baseline": plan.baseline or existing.baseline, "command": plan.command})
    # Whoever adds an arm in front of the others does not ask for another baseline.
    kept = existing.baselines if len(plan.arms) > len(existing.arms) else existing.baseline
    return plan.model_copy(update={"baseline": plan.baseline or kept})


def load_alike(path: Path, fields: Mapping[str, Any]) -> Config:
    """The config of a sweep's run, alike on every machine: a dtype that nobody set is float32, not the faster one.

    Workers may be on machines of several kinds, and runs in different dtypes would not compare. Raises ConfigError as
    `load_config` does, and for checkpoint.patience, which would make budgets unequal.
    """
    config = load_config(path, fields=fields)
    if config.checkpoint.patience:
        raise ConfigError(
            f"checkpoint.patience {config.checkpoint.patience} would end runs at different steps, and a sweep compares "
            f"equal budgets: set --checkpoint.patience 0"
        )
    if config.model.encoder.dtype != "auto":
        return config
    return load_config(path, fields={**fields, "model.encoder.dtype": "float32"})


def fields_of(config: Config) -> dict[str, Any]:
    """The values of a config by dotted field."""
    return flat(config.model_dump(mode="json"))


def _is_of(config: Config, text: str) -> bool:
    """Whether `text` is the config.yaml of the run of `config`, in which the run replaces microbatch_rows auto."""
    if config.microbatch_rows != "auto":
        return text == dump_config(config)
    try:
        return not differences(config, parse_config(text), ["microbatch_rows"])
    except ConfigError:
        return False


def _arms(sweep_request: Request, base: Config) -> tuple[list[Arm], list[str]]:
    """The arms of the request, and a line for each that cannot be made."""
    curve: list[Arm] = []
    if sweep_request.languages_curve:
        datasets = base.model_dump(mode="json")["data"]["datasets"]
        curve = curve_arms(sweep_request.languages_curve, sweep_request.order or "diverse", datasets)
        if not sweep_request.grid and not sweep_request.arms:
            return curve, []
    listed, errors = arms(sweep_request.grid, sweep_request.named, sweep_request.own, base.steps)
    if curve:
        errors += [
            f"arm {arm.name!r} sets {field}, which --languages-curve sets: leave one of the two out"
            for arm in listed
            for field in arm.overrides
            if field == DATASETS or field.startswith(f"{DATASETS}.")
        ]
    return crossed(curve, listed) if curve else listed, errors


def _in_every_group(baseline: str, listed: list[Arm]) -> list[str]:
    """The arms that a baseline names: itself or, if it is crossed with other fields, its arm in every group."""
    if any(arm.name == baseline for arm in listed):
        return [baseline]
    return [arm.name for arm in listed if arm.group and arm.base == baseline] or [baseline]


def _resolve(sweep_request: Request, arm: Arm) -> Config:
    assert sweep_request.config is not None
    config = load_alike(sweep_request.config, sweep_request.set | arm.overrides)
    if ALPHA in arm.overrides and config.mixture.weights is not None:
        raise ConfigError(f"{WEIGHTS} {config.mixture.weights} replaces {ALPHA}: set --{WEIGHTS} null")
    return config


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def _same(configs: dict[str, Config]) -> list[str]:
    """A line for each arm whose runs would be those of an earlier arm."""
    first: dict[str, str] = {}
    lines: list[str] = []
    for name, config in configs.items():
        text = dump_config(config)
        if text in first:
            lines.append(f"arms {first[text]} and {name} are the same config: leave one out")
        first.setdefault(text, name)
    return lines


def _identity(plan: Plan) -> dict[str, Any]:
    """What makes two plans the same, by dotted field: all but the command, and what was found to be unequal."""
    content = plan.model_dump(mode="json", exclude={"command", "unequal", "arms", "seeds", "tasks"})
    arms_by_name = {f"arms.{arm.name}": arm.overrides for arm in plan.arms}
    lists = {"arms": [arm.name for arm in plan.arms], "seeds": plan.seeds, "tasks": plan.tasks}
    return flat(content) | lists | arms_by_name | {"baseline": plan.baseline}
