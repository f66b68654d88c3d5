"""The config of a run, composed of the parts' configs: read from YAML, overridden on the command line, written as YAML.

Only `__main__` files and the training loop take a whole Config; everything else takes the part that it needs, or plain
values.
"""

import difflib
import io
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NoReturn

import tyro
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hybrid_jax.config_errors import explain
from hybrid_jax.data.pipeline import DataConfig
from hybrid_jax.data.schedule import MixtureConfig
from hybrid_jax.disk.addresses import refuse_address
from hybrid_jax.disk.yaml_text import parse_yaml
from hybrid_jax.model.dual_encoder import ModelConfig
from hybrid_jax.pretrained_fields import completed
from hybrid_jax.runs.keeping import CheckpointConfig, check_measured
from hybrid_jax.runtime.mesh import MeshConfig, check_rows_divide
from hybrid_jax.train.distillation import DistillationConfig, check_has_teacher
from hybrid_jax.train.divergence import DivergenceConfig
from hybrid_jax.train.loss import LossConfig
from hybrid_jax.train.microbatch import MicrobatchRows
from hybrid_jax.train.optim import OptimizerConfig, check_steps
from hybrid_jax.unset import adjusted


class ConfigError(ValueError):
    """The config cannot be used. The message names the field, its value and what to write instead."""


class Config(BaseModel):
    """One run. Equal configs give equal runs; logging, `mesh` and `checkpoint` do not change what is learned."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, ge=0)
    """Determines everything random in the run: parameters, batches and dropout."""
    steps: int = Field(default=1000, ge=1)
    """Number of batches to train on; the learning rate decays until then."""
    batch_size: int = Field(default=64, ge=2)
    """Pairs per batch, over all devices and processes together."""
    microbatch_rows: MicrobatchRows = None
    """The most packed rows that are encoded at a time, over all devices; None: the whole batch. It bounds memory, and
    every query still sees the whole batch's negatives (GradCache, arXiv 2101.06983). The loss is the same. auto: a run
    takes what fits into the devices' memory, and its config.yaml says which; on a CPU with less than 8 GiB give a
    number. There about 1,000 tokens at a time (4 rows of 256) are as fast as more, with a vocabulary of 32,000 tokens
    or fewer."""
    pretrained: str | None = None
    """Start from these weights: a Hugging Face or sentence-transformers folder, or a hub id. The folder also gives the
    tokenizer and the fields of `model`, and if it is from sentence-transformers the prompts, except those that the
    config sets."""
    vocabulary: Literal["pretrained", "new"] = "pretrained"
    """new: with `pretrained`, the tokenizer is that of data.tokenizer, not the folder's. The row of a token in the word
    embedding starts as the mean of the folder's rows for its text; where the folder does not know the letters it is
    drawn from the distribution of the folder's rows. All other weights are the folder's."""
    data: DataConfig = DataConfig()
    mixture: MixtureConfig = MixtureConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    distillation: DistillationConfig = DistillationConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    divergence: DivergenceConfig = DivergenceConfig()
    mesh: MeshConfig = MeshConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    compare_every: int = Field(default=100, ge=0)
    """Steps between comparisons of all processes' batches and parameters, beside those before a save; 0 = no others."""
    log_every: int = Field(default=10, ge=1)
    """Steps between printed lines; every step is in metrics.jsonl."""
    wandb_project: str | None = None
    """Also log to this project of Weights & Biases (needs the extra hybrid_jax[wandb])."""
    heldout_every: int = Field(default=0, ge=0)
    """Steps between measurements on held-out records (see data.heldout_fraction and data.heldout_pool); 0 = never."""
    heldout_batches: int = Field(default=8, ge=1)
    """Batches per measurement of the held-out loss; the same batches every time."""


def check(config: Config) -> Config:
    """Returns `config`. Raises ConfigError when fields that are valid by themselves contradict each other."""
    data, mesh = config.data, config.mesh
    longest, limit = max(data.max_query_length, data.max_passage_length), config.model.encoder.max_length
    if longest > limit:
        raise ConfigError(
            f"data.max_query_length or max_passage_length {longest} exceeds model.encoder.max_length {limit}: "
            f"{'lower the former or ' if config.pretrained else ''}raise the latter"
        )
    if config.vocabulary == "new" and config.pretrained is None:
        raise ConfigError("vocabulary new replaces that of a pretrained model, and there is none: set pretrained")
    try:
        for name, path in {"pretrained": config.pretrained, **data.paths()}.items():
            refuse_address(path or "", name)
        check_steps(config.optimizer, config.steps)
        check_has_teacher(config.distillation)
        check_measured(config.checkpoint, config.heldout_every, data.heldout_fraction, data.heldout_pool)
        config.mixture.check_batch_size(config.batch_size)
        accumulate = config.optimizer.accumulate
        if config.divergence.then == "skip" and accumulate > 1:
            raise ConfigError(
                f"divergence.then skip leaves out single batches, but optimizer.accumulate {accumulate} makes one "
                f"update of {accumulate}: set accumulate to 1, or then to stop"
            )
        if config.loss.parallel_weight and "aligned" not in config.mixture.shares:
            raise ConfigError(
                f"loss.parallel_weight {config.loss.parallel_weight}: only aligned batches have a query and its "
                f"translations: set mixture.others aligned, or the weight to 0"
            )
        if config.mixture.mix == "pairs" and config.loss.negatives == "local":
            raise ConfigError(
                "mixture.mix pairs with loss.negatives local: a device has rows of one kind, which would not compete "
                "with the other: use global"
            )
        if mesh.data > 0:  # else the number of devices is not known yet
            name = f"batch_size {config.batch_size} with mesh.data {mesh.data} and mesh.fsdp {mesh.fsdp}"
            check_rows_divide(name, config.batch_size, mesh.data * mesh.fsdp)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return config


def load_config(
    path: Path,
    overrides: Sequence[str] = (),
    prog: str = "hybrid_jax",
    fields: Mapping[str, Any] = MappingProxyType({}),
) -> Config:
    """The config in a YAML file, with command-line overrides such as `--mixture.monolingual_fraction 0.3`.

    `fields` are values by dotted names that replace those of the file: {"data.datasets.0.languages": ["en", "de"]}.
    Fields that nobody set give way to those that are set (see `unset.py`).

    Raises ConfigError for an unreadable file, an unknown field, a value of the wrong type, or fields that contradict
    each other (see `check`).
    """
    content = _read_yaml(path)
    for name, value in fields.items():
        _set(content, name, value)
    overridden = _overridden(overrides)
    pretrained = overridden.get("pretrained", content.get("pretrained"))
    if isinstance(pretrained, str):
        if not Path(pretrained).expanduser().is_dir():  # mistakes are told before anything is downloaded
            _validate(_without_encoder(content), str(path))
        content = completed(content, pretrained, overridden)
    config = _validate(content, str(path))
    config = override(config, overrides, prog) if overrides else config
    values = config.model_dump(mode="json")
    for name, value in adjusted(flat(values), {*flat(content), *overridden}).items():
        _set(values, name, value)
    return check(_validate(values, str(path)))


def parse_config(text: str, source: str = "config.yaml") -> Config:
    """The config that `dump_config` wrote; errors name `source` as its file.

    Raises ConfigError if it is incomplete, or was written by an incompatible version.
    """
    return _validate(_parse_yaml(text, source), source)


def show_fields(path: Path | None, overrides: Sequence[str], prog: str) -> NoReturn:
    """Prints every field, with its default or the value in the file `path` or in `overrides`, and exits."""
    content = {} if path is None else _read_yaml(path)
    overridden = _overridden(overrides)
    pretrained = overridden.get("pretrained", content.get("pretrained"))
    if isinstance(pretrained, str) and Path(pretrained).expanduser().is_dir():  # nothing is downloaded for a help page
        content = completed(content, pretrained, overridden)
    override(_validate(content, str(path)), [*overrides, "--help"], prog)
    sys.exit(0)  # tyro has done so after --help


def override(config: Config, arguments: Sequence[str], prog: str) -> Config:
    """`config` with dotted command-line overrides; `--help` lists every field with its current value.

    Raises ConfigError for a value that pydantic refuses. If an argument cannot be read, tyro prints why, and similar
    names, and exits with status 2.
    """
    printed = io.StringIO()
    try:
        with redirect_stderr(printed):
            return tyro.cli(
                Config,
                prog=prog,
                args=list(arguments),
                default=config,
                description="Every field of the config, with the value it has now:",
                config=(tyro.conf.FlagConversionOff, tyro.conf.AvoidSubcommands),
            )
    except SystemExit as end:
        cause = end.__context__
        while cause is not None and not isinstance(cause, ValidationError):
            cause = cause.__context__
        if cause is not None:
            raise ConfigError(explain(cause, "the command line", Config)) from None
        # The commands' own --help has other options, and mentions --help-config.
        sys.stderr.write(re.sub(rf"({re.escape(prog)} --help)( {{,7}})", r"\1-config", printed.getvalue()))
        raise


def dump_config(config: Config) -> str:
    """The whole config as YAML; `parse_config` returns an equal config."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def differences(old: Config, new: Config, ignore: Sequence[str] = ()) -> list[str]:
    """The fields in which two configs differ, as lines "name: old -> new", without the fields in `ignore`.

    A name in `ignore` may be a field or a part, such as "mesh".
    """
    before, after = flat(old.model_dump(mode="json")), flat(new.model_dump(mode="json"))
    names = [name for name in {**before, **after} if not any(name == i or name.startswith(f"{i}.") for i in ignore)]
    return [f"{name}: {before.get(name)} -> {after.get(name)}" for name in names if before.get(name) != after.get(name)]


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """Values by dotted field of nested mappings; lists are values, and so are empty mappings."""
    if not isinstance(value, dict) or not value:
        return {name: value}
    parts = (flat(part, f"{name}.{key}" if name else key) for key, part in value.items())
    return {key: leaf for part in parts for key, leaf in part.items()}


def _without_encoder(content: dict[str, Any]) -> dict[str, Any]:
    """The content without the fields that depend on the pretrained folder's family."""
    model = content.get("model")
    if not isinstance(model, dict):
        return content
    return {**content, "model": {name: value for name, value in model.items() if name != "encoder"}}


def _overridden(words: Sequence[str]) -> dict[str, str | None]:
    """The values of overridden fields by dotted field, as text. Of several words, the first; None for the word None."""
    values: dict[str, str | None] = {}
    for word, next_word in pairwise([*words, "None"]):
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            value = value if equals else next_word
            values[name.replace("-", "_")] = None if value == "None" else value
    return values


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        return _parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.yaml")], n=3, cutoff=0.0)
        hint = f": did you mean {' or '.join(str(path.parent / name) for name in near)}?" if near else ""
        raise ConfigError(f"no config file {path}{hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from None


def _parse_yaml(text: str, source: str) -> dict[str, Any]:
    try:
        content = parse_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        kind = "nothing" if content is None else type(content).__name__
        raise ConfigError(f"{source}: expected 'field: value' lines, found {kind}")
    return content


def _set(content: dict[str, Any], name: str, value: Any) -> None:
    """Writes the value at a dotted place; a number is a place in a list. Parts that are missing are made."""
    parts = name.split(".")
    place: Any = content
    for n, part in enumerate(parts):
        key: Any = int(part) if isinstance(place, list) and part.isdigit() else part
        if not isinstance(place, dict) and not (isinstance(place, list) and isinstance(key, int) and key < len(place)):
            holds = f"a list of {len(place)}" if isinstance(place, list) else repr(place)
            raise ConfigError(f"unknown field {name}: {'.'.join(parts[:n])} is {holds}, which has no {part}")
        if n + 1 == len(parts):
            place[key] = value
        elif isinstance(place, dict) and place.get(key) is None:
            place[key] = {}
            place = place[key]
        else:
            place = place[key]


def _validate(content: dict[str, Any], source: str) -> Config:
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        raise ConfigError(explain(error, source, Config)) from None
