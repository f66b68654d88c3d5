"""Reads a training run's folder: its model, tokenizer, text rules and origin.

The only file in this room that uses a whole Config.
"""

from dataclasses import dataclass
from pathlib import Path

from hybrid_jax.config import Config, ConfigError, parse_config
from hybrid_jax.data.tokenizer import Tokenizer
from hybrid_jax.embed.encoder import TextRules
from hybrid_jax.embed.origin import Origin
from hybrid_jax.model.dual_encoder import ModelConfig
from hybrid_jax.runs.workdir import check_files, read_record


@dataclass(frozen=True)
class Run:
    """What encoding and reports need from a run's folder, apart from its checkpoints."""

    folder: Path
    model: ModelConfig
    rules: TextRules
    tokenizer: Tokenizer
    seed: int
    pretrained: str | None
    """The model that training started from; None if it started from random weights."""
    new_vocabulary: bool
    """Whether training began with another vocabulary than that model's."""
    cache: Path | None
    """The run's `data.cache_dir`; None if it does not exist, as on another machine."""
    origin: Origin
    """Config, data and code of the run. Its `step` is None until a checkpoint is restored."""


def is_run(folder: Path) -> bool:
    """Whether the folder is the --workdir of a training run."""
    return (folder / "config.yaml").is_file() and (folder / "tokenizer").is_dir()


def read_config(folder: Path) -> Config:
    """Reads the run's resolved config. Raises ConfigError if the folder is not a run, or the config is not valid."""
    if not is_run(folder):
        raise ConfigError(
            f"{folder} is not a run (no config.yaml and tokenizer/): give the --workdir of a training run"
        )
    path = folder / "config.yaml"
    return parse_config(path.read_text(encoding="utf-8"), str(path))


def read_run(folder: Path) -> Run:
    """Reads the folder. Raises ConfigError if it is not a run, or its config is not valid; and WorkdirError if its
    run.json, config.yaml or tokenizer is damaged, since texts would get other vectors."""
    config = read_config(folder)
    data = config.data
    cache = Path(data.cache_dir).expanduser()
    begun = read_record(folder)
    check_files(folder, begun)
    if not begun["starts"]:
        raise ConfigError(f"{folder / 'run.json'} has no starts: restore it")
    origin = Origin(
        kind="run",
        folder=folder.resolve(),
        config=config.model_dump(mode="json"),
        trained_with=begun["starts"][0],
        training_data=begun["data"],
        dtype=config.model.encoder.dtype,
    )
    return Run(
        folder,
        config.model,
        TextRules(data.query_prompt, data.passage_prompt, data.max_query_length, data.max_passage_length),
        Tokenizer(folder / "tokenizer"),
        config.seed,
        config.pretrained,
        config.vocabulary == "new",
        cache if cache.is_dir() else None,
        origin,
    )
