"""What a sweep's folder says about itself: the plan as a table, what is finished, and how its arms are compared."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path

from hybrid_jax.ablate.curve import DATASETS, trained_languages
from hybrid_jax.ablate.folder import Plan, Run, runs
from hybrid_jax.disk.tables import aligned


def plan_table(plan: Plan, steps: Mapping[str, int], pairs: Mapping[str, int]) -> list[str]:
    """A line for each arm: its steps, its pairs, and the fields that it sets."""
    rows = [["arm", "steps", "pairs", "sets"]]
    for arm in plan.arms:
        shown = dict(arm.overrides)
        if languages := trained_languages(arm):
            shown[DATASETS] = f"those with {', '.join(languages)}"
        sets = "  ".join(f"{field}={json.dumps(value, ensure_ascii=False)}" for field, value in shown.items())
        rows.append([arm.name, f"{steps[arm.name]:,}", f"{pairs[arm.name]:,}", sets])
    return aligned(rows, left=(0, 3))


def closing_lines(sweep: Path, plan: Plan) -> list[str]:
    """Where the runs are, which are missing, and the command that compares the arms."""
    everything = runs(sweep, plan)
    finished = [run for run in everything if run.finished]
    missing = [run.name for run in everything if not run.finished]
    lines = [f"{len(finished)} of {len(everything)} runs are finished, in {sweep / 'runs'}"]
    if missing:
        lines.append(f"missing: {', '.join(missing)}")
    command = compare_command(finished, plan)
    return [*lines, f"compare the arms: {command}"] if command else lines


def compare_command(finished: list[Run], plan: Plan) -> str | None:
    """The command that compares the arms, the first baseline first; None for fewer than two arms."""
    names = dict.fromkeys([plan.baselines[0], *(arm.name for arm in plan.arms)])
    folders = {name: ",".join(str(run.folder) for run in finished if run.arm == name) for name in names}
    # "=" would end the name of a system.
    systems = [f"{name.replace('=', ':')}={listed}" for name, listed in folders.items() if listed]
    return f"python -m hybrid_jax.eval compare {shlex.join(systems)}" if len(systems) > 1 else None
