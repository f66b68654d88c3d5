"""What a sweep is to be: a YAML file in configs/sweeps/, the command line on top of it, or both.

config: configs/demo.yaml                 # --config
set: {steps: 400}                         # any field for all arms: --steps 400
grid: {mixture.monolingual_fraction: [0, 0.5, 1]}    # --grid mixture.monolingual_fraction=0,0.5,1
arms: [x-x, both: {loss.directions: both}]           # --arms x-x,both; arms of one's own are defined in the file
languages_curve: [2, 4, 8]                # --languages-curve 2,4,8: arms with the first n training languages
order: diverse                            # --order diverse, similar, or a file with a language a line
seeds: 3                                  # a number of seeds, or a list of them: --seeds 3, --seeds 0,7
tasks: [demo]                             # --tasks demo,xquad_r
baseline: alpha=0.5                       # --baseline; several: [alpha=0, alpha=1]; one of each group where crossed
debias: [lsar]                            # --debias lsar: each run's vectors also after these, as an arm of their own
debias_text: [bitext.jsonl.gz]            # --debias-text FILE …: what they are fitted on (docs/debiasing.md)
skip_bad_rows: false                      # --skip-bad-rows

# A search has no grid, arms, seeds, tasks, baseline and debiasing, but:
search: 20                                # --search 20
ranges: {optimizer.learning_rate: "1e-5:1e-3:log", model.pooling: [mean, cls]}     # --range FIELD=LOW:HIGH:log
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hybrid_jax.ablate.arms import Names
from hybrid_jax.disk.yaml_text import parse_yaml


class RequestError(ValueError):
    """A sweep file or an option that cannot be read; one line for each reason."""


class Request(BaseModel):
    """A sweep as it is requested, before any config is read."""

    model_config = ConfigDict(extra="forbid")

    config: Path | None = None
    """The base config."""
    set: dict[str, Any] = {}
    """Values by dotted field, for all arms."""
    grid: dict[str, list[Any]] = {}
    """The values of each field that varies."""
    arms: list[str | dict[str, dict[str, Any]]] = []
    """Names of mixtures, and arms of one's own: {name: {field: value}}."""
    languages_curve: list[int] = []
    """Numbers of training languages, each an arm."""
    order: str | None = None
    """The order of languages for `languages_curve`: diverse (the default), similar, or a file (see `curve_arms`)."""
    search: int | None = None
    """How many trials a search makes, instead of a sweep."""
    ranges: dict[str, str | list[Any]] = {}
    """What a search chooses from, by field: "LOW:HIGH", "LOW:HIGH:log" or a list of choices."""
    seeds: int | list[int] = 1
    """How many seeds, from the base config's on; or which."""
    tasks: list[str] = Field(default=["demo"], min_length=1)
    """What each run is evaluated on."""
    baseline: Names = []
    """The arms that the others are tested against: one name or several; empty for the first arm. The name of a mixture
    or an arm of one's own that is crossed with other fields stands for it in every group."""
    debias: list[str] = []
    """Post-hoc debiasing of each run's vectors, by name: each is evaluated as an arm beside the run's own, ARM+NAME."""
    debias_text: list[str] = []
    """The files that it is fitted on, as a dataset's path: $HYBRID_JAX_DATA, ~ and globs are expanded."""
    skip_bad_rows: bool = False
    """Whether training skips bad rows of the data."""

    @property
    def named(self) -> list[str]:
        """The arms that are names of mixtures."""
        return [arm for arm in self.arms if isinstance(arm, str)]

    @property
    def own(self) -> dict[str, dict[str, Any]]:
        """The arms that the file defines."""
        return {name: fields for arm in self.arms if not isinstance(arm, str) for name, fields in arm.items()}


def read_sweep(path: Path) -> dict[str, Any]:
    """The content of a sweep file. Raises RequestError for a file that is missing or no mapping."""
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        sweep_files = ", ".join(map(str, sorted(path.parent.glob("*.yaml")))) or "no sweep file"
        raise RequestError(f"no sweep file {path}: {path.parent} has {sweep_files}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RequestError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise RequestError(f"{path}: expected 'field: value' lines, such as grid: {{steps: [100, 200]}}")
    return content


def with_own_arms(names: Sequence[str], file_arms: Any) -> list[Any]:
    """The arms called `names`, those that the sweep file's `arms` define as it defines them."""
    defined = [arm for arm in file_arms if isinstance(arm, Mapping)] if isinstance(file_arms, list) else []
    own = {name: {name: fields} for arm in defined for name, fields in arm.items()}
    return [own.get(name, name) for name in names]


def request(content: Mapping[str, Any], source: str) -> Request:
    """The request in a mapping, which comes from `source`. Raises RequestError with a line for each problem."""
    try:
        validated = Request.model_validate(content)
    except ValidationError as error:
        lines = dict.fromkeys(
            f"{source}: {'.'.join(map(str, problem['loc'][:2]))} = {_short(problem['input'])}: {problem['msg']}"
            if problem["type"] != "extra_forbidden"
            else f"{source}: unknown field {problem['loc'][0]}: known are {', '.join(Request.model_fields)}"
            for problem in error.errors()
        )
        raise RequestError("\n".join(lines)) from None
    own = [name for arm in validated.arms if not isinstance(arm, str) for name in arm]
    if len(set(own)) < len(own):
        raise RequestError(f"{source}: two arms are called {max(own, key=own.count)!r}: give different names")
    seeds = validated.seeds if isinstance(validated.seeds, list) else range(validated.seeds)
    if not len(seeds) or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise RequestError(f"{source}: seeds {validated.seeds}: give 1 or more, or a list of different seeds from 0 on")
    empty = [field for field, values in validated.grid.items() if not values]
    if empty:
        raise RequestError(f"{source}: grid {empty[0]} has no values: give some, such as {empty[0]}: [0, 1]")
    if bool(validated.debias) != bool(validated.debias_text):
        raise RequestError(f"{source}: debias and debias_text (what it is fitted on) go together: give both or neither")
    if validated.order is not None and not validated.languages_curve:
        raise RequestError(
            f"{source}: order is of a languages curve: give --languages-curve 2,4,8 too, or leave it out"
        )
    twice = sorted(validated.grid.keys() & validated.set.keys())
    if twice:
        raise RequestError(f"{source}: {twice[0]} is both set for all arms and varied by the grid: leave one out")
    return validated


def parse_grid(options: Sequence[str]) -> dict[str, list[Any]]:
    """{field: values} of options FIELD=V1,V2: the part after "=" is a YAML list without its brackets.

    Raises RequestError for one that is none, and for a field that is given twice.
    """
    grid: dict[str, list[Any]] = {}
    for option in options:
        field, equals, text = option.partition("=")
        if not field or not equals or not text.strip():
            raise RequestError(f"--grid {option!r}: give FIELD=V1,V2, such as mixture.monolingual_fraction=0,0.5,1")
        if field in grid:
            raise RequestError(f"--grid {field} is given twice: give all its values at once, {field}=V1,V2,V3")
        values = _yaml(f"[{text}]", f"--grid {option!r}")
        if not isinstance(values, list):
            raise RequestError(f"--grid {option!r}: {text!r} is no list of YAML values")
        grid[field] = values
    return grid


def parse_ranges(options: Sequence[str]) -> dict[str, str | list[Any]]:
    """{field: "LOW:HIGH" or choices} of options FIELD=LOW:HIGH[:log] or FIELD=[A,B]. Raises RequestError for others."""
    ranges: dict[str, str | list[Any]] = {}
    for option in options:
        field, _, text = option.partition("=")
        choices = _yaml(text, f"--range {option!r}") if text.startswith("[") else text
        if not field or not text or field in ranges or not isinstance(choices, str | list):
            raise RequestError(f"--range {option!r}: give FIELD=LOW:HIGH, FIELD=LOW:HIGH:log or FIELD=[A,B], each once")
        ranges[field] = choices
    return ranges


def parse_fields(words: Sequence[str]) -> dict[str, Any]:
    """{field: value} of words --FIELD VALUE or --FIELD=VALUE, the values YAML. Raises RequestError for other words."""
    fields: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, text = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not name or (not equals and (not rest or rest[0].startswith("--"))):
            raise RequestError(
                f"{word!r}: give an option (see --help), or a field of the config and its value: --steps 9"
            )
        fields[name] = _yaml(text if equals else rest.pop(0), word)
    return fields


def parse_seeds(text: str) -> int | list[int]:
    """A number of seeds, or the seeds themselves where there is a comma. Raises RequestError for anything else."""
    try:
        return [int(part) for part in text.split(",") if part.strip()] if "," in text else int(text)
    except ValueError:
        raise RequestError(f"--seeds {text!r}: give how many (3), or which (0,7)") from None


def _yaml(text: str, source: str) -> Any:
    try:
        return parse_yaml(text)
    except yaml.YAMLError as error:
        raise RequestError(f"{source}: not YAML: {' '.join(str(error).split())}") from None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
