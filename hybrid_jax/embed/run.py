"""A training run's folder, read: its model, its tokenizer, how it wrote its texts, where its data came from.

The one file of this room that sees a whole Config.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from hybrid_jax.config import Config, ConfigError, parse_config
from hybrid_jax.data.tokenizer import Tokenizer
from hybrid_jax.embed.encoder import TextRules
from hybrid_jax.embed.origin import Origin
from hybrid_jax.model.dual_encoder import ModelConfig


@dataclass(frozen=True)
class Run:
    """What encoding needs of a run, and what a report says of it."""

    folder: Path
    model: ModelConfig
    rules: TextRules
    tokenizer: Tokenizer
    seed: int
    pretrained: str | None
    """What it began from."""
    origin: Origin
    """Config, data and code of the run; `step` is for whoever restores a checkpoint to fill in."""


def is_run(folder: Path) -> bool:
    """Whether this is the --workdir of a training run."""
    return (folder / "config.yaml").is_file() and (folder / "tokenizer").is_dir()


def read_config(folder: Path) -> Config:
    """The run's resolved config. Raises ConfigError."""
    if not is_run(folder):
        raise ConfigError(
            f"{folder} is not a run (no config.yaml and tokenizer/): give the --workdir of a training run"
        )
    path = folder / "config.yaml"
    return parse_config(path.read_text(encoding="utf-8"), str(path))


def read_run(folder: Path) -> Run:
    """Raises ConfigError for a folder that is not a run, or a config of another version."""
    config = read_config(folder)
    data = config.data
    try:
        begun = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        origin = Origin(
            kind="run",
            folder=folder.resolve(),
            config=config.model_dump(mode="json"),
            trained_with=begun["starts"][0],
            training_data=begun["data"],
            dtype=config.model.encoder.dtype,
        )
    except (OSError, ValueError, LookupError) as error:
        raise ConfigError(f"{folder / 'run.json'}: damaged or missing ({error}): restore it") from None
    return Run(
        folder,
        config.model,
        TextRules(data.query_prompt, data.passage_prompt, data.max_query_length, data.max_passage_length),
        Tokenizer(folder / "tokenizer"),
        config.seed,
        config.pretrained,
        origin,
    )
