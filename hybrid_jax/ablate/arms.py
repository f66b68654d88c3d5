"""The arms of a sweep: named mixtures of the paper, values of a grid, and the names that their folders have."""

import json
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import product
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

ALPHA = "mixture.monolingual_fraction"
OTHERS = "mixture.others"
WEIGHTS = "mixture.weights"
MIX = "mixture.mix"
MIXTURES = {
    "x-x-mono": "each batch in one language (the paper's baseline; its tables call it X-X): α = 1",
    "x-x": "query and passage in the same language, the languages mixed in a batch (LAReQA's X-X)",
    "x-y": "query and passage in different languages: α = 0",
    "hybrid": "the paper's hybrid batches: α = 0.5",
    "hybrid-pairs": "half of every batch monolingual and half cross-lingual, instead of half the batches (ours)",
    "mono-then-cross": "α = 1 in the first half of the steps, then 0",
    "cross-then-mono": "α = 0 in the first half of the steps, then 1",
    "mono-to-cross": "α falls linearly from 1 at the first step to 0 at the last",
    "cross-to-mono": "α rises linearly from 0 at the first step to 1 at the last",
}
"""What `--arms` knows, and what it stands for (paper: arXiv 2408.10536)."""
_PAPER = {OTHERS: "cross_lingual", WEIGHTS: None, MIX: "batches"}
"""What α means in the paper, whatever the base config says: the share of whole batches that are monolingual, where the
others are cross-lingual."""
LONGEST_NAME = 80
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]*")


def _names(value: Any) -> Any:
    return [] if value is None else [value] if isinstance(value, str) else value


Names = Annotated[list[str], BeforeValidator(_names)]
"""Names of arms: a list in the file, or one name; nothing is the empty list."""


class ArmError(ValueError):
    """Arms that cannot be made; one line for each reason."""


class Arm(BaseModel):
    """One arm: a setting of the config's fields that is trained with every seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """Also the name of its folder."""
    overrides: dict[str, Any]
    """Values by dotted field, set on top of the base config."""
    axis: dict[str, Any]
    """Where the arm stands among the others: the overrides; {"mixture": NAME} for a mixture that is no constant α."""
    group: dict[str, Any] = {}
    """What a mixture or an arm of one's own is crossed with, as {"steps": 30}: arms are tested within their group."""
    base: str = ""
    """The name without the group."""
    debias: str = ""
    """The method after which another arm's vectors are evaluated; such an arm trains nothing."""


def mixture(name: str, steps: int) -> Arm:
    """The arm called `name` in MIXTURES for a run of `steps`. Raises ArmError for another name, or too few steps."""
    if name not in MIXTURES:
        raise ArmError(f"--arms {name!r}: known are {', '.join(MIXTURES)}; a sweep file can define others")
    if name == "x-x":
        return Arm(name=name, overrides={WEIGHTS: {"same_language": 1.0}}, axis={"mixture": name})
    if name == "hybrid-pairs":
        return Arm(name=name, overrides={ALPHA: 0.5, **_PAPER, MIX: "pairs"}, axis={"mixture": name})
    constants = {"x-x-mono": 1.0, "x-y": 0.0, "hybrid": 0.5}
    if name in constants:
        alpha = constants[name]
        return Arm(name=name, overrides={ALPHA: alpha, **_PAPER}, axis={ALPHA: alpha})
    if steps < 2:
        raise ArmError(f"--arms {name}: its α changes on the way, so it needs 2 steps or more, not {steps}")
    first = 1.0 if name.startswith("mono") else 0.0
    half = steps // 2
    # α is linear between the points: two that are neighbours make a jump.
    begin, end = (half - 1, half) if "-then-" in name else (0, steps - 1)
    overrides = {ALPHA: [[begin, first], [end, 1.0 - first]], **_PAPER}
    return Arm(name=name, overrides=overrides, axis={"mixture": name})


def arms(
    grid: Mapping[str, Sequence[Any]], named: Sequence[str], own: Mapping[str, Mapping[str, Any]], steps: int
) -> tuple[list[Arm], list[str]]:
    """The arms of a sweep, in order, and a line for each that cannot be made, or whose name another has.

    The `named` mixtures and the `own` arms {name: overrides} stand beside the values of ALPHA in the grid; all of them
    are crossed with the grid's other fields. `steps` are those of the base config.
    """
    others = {field: values for field, values in grid.items() if field != ALPHA}
    prefixes = _short_names([*grid])
    made: list[Arm] = []
    errors: list[str] = []
    for values in product(*others.values()):
        crossed = dict(zip(others, values, strict=True))
        suffix = [f"{prefixes[field]}={label(value)}" for field, value in crossed.items()]
        length = crossed.get("steps")
        first, wrong = _first_axis(grid.get(ALPHA), named, own, length if isinstance(length, int) else steps)
        errors += wrong
        if not first and not wrong and not others:
            errors.append(f"nothing varies: give --grid {ALPHA}=0,0.5,1, or --arms x-x-mono,x-y,hybrid")
        for arm in first or [Arm(name="", overrides={}, axis={})]:
            both = sorted(arm.overrides.keys() & crossed.keys())
            if both:
                errors.append(f"arm {arm.name!r} sets {both[0]}, which the grid varies: leave it out of one of them")
            made.append(
                Arm(
                    name=crossed_name(arm.name, *suffix),
                    overrides=arm.overrides | crossed,
                    axis=arm.axis | crossed,
                    group=crossed if arm.name else {},
                    base=arm.name,
                )
            )
    names = [arm.name.casefold() for arm in made]  # some file systems ignore case
    errors += [
        f"two arms are called {name!r}: give different ones" for name in sorted(set(names)) if names.count(name) > 1
    ]
    return made, list(dict.fromkeys(errors))


def label(value: Any) -> str:
    """A value as part of a folder's name: letters, digits and . _ + - only; what is lost otherwise becomes a hash."""
    text = _spelled(value)
    safe = re.sub(r"[^A-Za-z0-9._+-]+", "-", text)
    return safe if safe == text and text else f"{safe.strip('-.')}-{_hash(json.dumps(value))}".lstrip("-")


def crossed_name(*parts: str) -> str:
    """What an arm is called of whose name these are parts, within LONGEST_NAME."""
    return _shortened("_".join(part for part in parts if part))


def check_name(name: str) -> str:
    """`name`, or an ArmError if it is no name for a folder."""
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise ArmError(f"arm {name!r}: a name has at most {LONGEST_NAME} letters, digits and . _ + = -")
    return name


def _first_axis(
    alphas: Sequence[Any] | None, named: Sequence[str], own: Mapping[str, Mapping[str, Any]], steps: int
) -> tuple[list[Arm], list[str]]:
    """The arms along the mixture, and a line for each that cannot be made."""
    made = [Arm(name=f"alpha={label(a)}", overrides={ALPHA: a}, axis={ALPHA: a}) for a in alphas or ()]
    errors: list[str] = []
    for name in named:
        try:
            made.append(mixture(name, steps))
        except ArmError as error:
            errors.append(str(error))
    for name, overrides in own.items():
        try:
            made.append(Arm(name=check_name(name), overrides=dict(overrides), axis=dict(overrides)))
        except ArmError as error:
            errors.append(str(error))
    return made, errors


def _short_names(fields: Sequence[str]) -> dict[str, str]:
    """Each field's last part, or the whole where two end alike; α is called alpha."""
    last = {field: "alpha" if field == ALPHA else field.rpartition(".")[2] for field in fields}
    return {field: name if list(last.values()).count(name) == 1 else field for field, name in last.items()}


def _spelled(value: Any, joint: str = "+") -> str:
    if isinstance(value, list | tuple):
        return joint.join(_spelled(part, "_") for part in value)
    if isinstance(value, dict):
        return joint.join(f"{key}_{_spelled(part, '_')}" for key, part in value.items())
    return value if isinstance(value, str) else json.dumps(value)


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 9]}-{_hash(name)}"


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:8]
