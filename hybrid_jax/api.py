"""hybrid_jax from Python: train, evaluate and load as functions, with the same results as the commands'.

    import hybrid_jax

    run = hybrid_jax.train("configs/demo.yaml", "runs/demo", fields={"steps": 100})
    run.metrics["loss"][-1], run.encoder().encode_queries(["…"]), run.evaluate("demo").tasks["demo"]["map"]

See docs/python.md. Every mistake in a config or in data is a ValueError of one line, as on the command line.
"""

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, overload

import numpy as np
import yaml
from pydantic import BaseModel

from hybrid_jax.config import Config, ConfigError, load_config
from hybrid_jax.disk.addresses import refuse_address
from hybrid_jax.embed.encoder import TextEncoder
from hybrid_jax.embed.load import Step, load, load_untrained
from hybrid_jax.embed.run import read_config
from hybrid_jax.eval import job
from hybrid_jax.eval.report.schema import Report
from hybrid_jax.runs.workdir import read_log
from hybrid_jax.runtime.compilation import keep_compiled
from hybrid_jax.runtime.processes import start_distributed
from hybrid_jax.train.hooks import Hooks, OnStep, OwnObjective
from hybrid_jax.train.loop import train as run_loop

ConfigLike = Config | Mapping[str, Any] | str | Path
"""A config, its fields as nested mappings, or a YAML file."""


class Metrics(Sequence[Mapping[str, Any]]):
    """The lines of a run's metrics.jsonl: a table with a row per step.

    `metrics["loss"]` is a column as an array (NaN where a step lacks it), `metrics[-1]` a row, and
    `pandas.DataFrame(list(metrics))` a data frame.
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]]):
        self._rows = list(rows)

    @property
    def columns(self) -> list[str]:
        """The names that some step has, in the order of their first appearance."""
        return list(dict.fromkeys(name for row in self._rows for name in row))

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self._rows)

    @overload
    def __getitem__(self, key: int) -> Mapping[str, Any]: ...
    @overload
    def __getitem__(self, key: slice) -> "Metrics": ...
    @overload
    def __getitem__(self, key: str) -> np.ndarray: ...
    def __getitem__(self, key: int | slice | str) -> "Mapping[str, Any] | Metrics | np.ndarray":
        if isinstance(key, str):
            if key not in self.columns:
                raise KeyError(f"no column {key!r}: there are {', '.join(self.columns)}")
            values = [row.get(key) for row in self._rows]
            numbers = all(value is None or isinstance(value, int | float) for value in values)
            return np.array([np.nan if value is None else value for value in values]) if numbers else np.array(values)
        return Metrics(self._rows[key]) if isinstance(key, slice) else self._rows[key]

    def __repr__(self) -> str:
        return f"Metrics({len(self)} steps of {', '.join(self.columns)})"


@dataclass(frozen=True)
class Run:
    """A training run's folder. `hybrid_jax.train` returns one; `Run("runs/demo")` opens one that is there."""

    folder: Path

    def __init__(self, folder: str | Path):
        object.__setattr__(self, "folder", Path(folder).expanduser())
        read_config(self.folder)  # raises ConfigError where the folder is no run

    @property
    def config(self) -> Config:
        """The resolved config."""
        return read_config(self.folder)

    @property
    def metrics(self) -> Metrics:
        """Every step's loss, learning rate, kind of batch and so on, as they are now."""
        return Metrics([record for _, record in read_log(self.folder / "metrics.jsonl")])

    def encoder(self, step: Step | None = None) -> TextEncoder:
        """The encoder of the last checkpoint, of the one after `step` steps, or of the "best" that was watched."""
        return load(self.folder, step=step)

    def evaluate(
        self,
        tasks: str | Sequence[str],
        *,
        data_dir: str | Path | None = None,
        out: str | Path | None = None,
        untrained: bool = False,
        csls: bool = False,
        step: Step | None = None,
        say: Callable[[str], None] = print,
    ) -> Report:
        """Evaluates the run as `hybrid_jax.evaluate` does, `untrained` also before its first step, side by side.

        The report is written to the run's folder, in eval/, unless `out` names another.
        """
        before = load_untrained(self.folder) if untrained else None
        place = self.folder / "eval" if out is None else out
        return evaluate(self.encoder(step), tasks, data_dir=data_dir, out=place, untrained=before, csls=csls, say=say)


def train(
    config: ConfigLike,
    workdir: str | Path,
    *,
    fields: Mapping[str, Any] = MappingProxyType({}),
    objective: OwnObjective | None = None,
    on_step: OnStep | None = None,
    skip_bad_rows: bool = False,
) -> Run:
    """Trains the run that `config` describes in `workdir`, or resumes the part of it that is there.

    `fields` replace those of the config, by dotted names: {"steps": 100, "optimizer.learning_rate": 1e-3}.
    `objective(vectors, groups)` replaces the loss (see `OwnObjective`), `on_step(record)` is called for each step that
    is logged; an exception from it ends the run, and the next call resumes from the last checkpoint.

    Raises ValueError in one line for what is wrong with the config or the data, and for a workdir of another run.
    """
    refuse_address(workdir, "workdir")
    resolved = _config(config, fields)
    start_distributed()
    keep_compiled(Path(resolved.data.cache_dir), warnings.warn)
    # Orbax warns of its own settings, and logs the tracebacks of errors that it raises.
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        run_loop(resolved, Path(workdir).expanduser(), skip_bad_rows, hooks=Hooks(objective, on_step))
    finally:
        logger.setLevel(level)
    return Run(workdir)


def evaluate(
    encoder: TextEncoder,
    tasks: str | Sequence[str],
    *,
    data_dir: str | Path | None = None,
    out: str | Path | None = None,
    untrained: TextEncoder | None = None,
    csls: bool = False,
    say: Callable[[str], None] = print,
) -> Report:
    """Evaluates an encoder on tasks, which are named as for `python -m hybrid_jax.eval --tasks`.

    `untrained` is a model to be shown beside it, `csls` scores by CSLS too. The report's files are written to the
    folder `out`, if one is named. `say` is called with a line of progress. Raises DataError for an unknown task, and
    for files that are missing or damaged.
    """
    for name, path in (("data_dir", data_dir), ("out", out)):
        refuse_address(path or "", name)
    names = tasks if isinstance(tasks, str) else ",".join(tasks)
    opened = job.open_tasks(names, None if data_dir is None else Path(data_dir).expanduser(), say)
    warn = partial(warnings.warn, stacklevel=2)
    evaluation = job.measure(encoder, opened, say, csls=csls, warn=warn)
    before = None if untrained is None else job.measure(untrained, opened, lambda line: say(f"untrained, {line}"))
    if out is None:
        return job.report(encoder, evaluation, untrained=before)
    return job.publish(encoder, evaluation, Path(out).expanduser(), untrained=before).report


def _config(config: ConfigLike, fields: Mapping[str, Any]) -> Config:
    if isinstance(config, str | Path):
        return load_config(Path(config).expanduser(), fields=_plain(fields))
    text = yaml.safe_dump(_plain(config), allow_unicode=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(text, encoding="utf-8")
        try:
            return load_config(path, fields=_plain(fields))
        except ConfigError as error:
            raise ConfigError(str(error).replace(str(path), "config")) from None


def _plain(value: Any) -> Any:
    """Values as YAML holds them: a part of a config may be given as an object, such as what `data.rows` returns."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)  # what nobody set, a pretrained folder may
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, Path) else value
