"""A sweep's plan with arms and little else."""

from collections.abc import Sequence
from typing import Any

from hybrid_jax.ablate.arms import Arm
from hybrid_jax.ablate.folder import Plan


def made_up_arm(name: str, **axis: Any) -> Arm:
    """An arm that sets the fields that it lies on the axes with. BASE_steps=N is crossed with `steps`."""
    base, _, steps = name.partition("_steps=")
    group = {"steps": int(steps)} if steps else {}
    return Arm(name=name, overrides=axis, axis=axis | group, group=group, base=base)


def made_up_plan(arms: Sequence[Arm], seeds: Sequence[int] = (0,), **changes: Any) -> Plan:
    """A plan with all its fields, which `changes` replace."""
    content = {"base": {"steps": 40}, "tasks": ["records"], "seeds": seeds, "baseline": [], "arms": arms}
    return Plan.model_validate({**content, "skip_bad_rows": False, "unequal": [], "command": "made up", **changes})
