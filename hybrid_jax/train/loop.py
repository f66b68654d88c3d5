"""The training loop: batches + model -> checkpoints. Read it top to bottom; everything it calls is a page of its own.

A run is a pure function of its config and data: the batch, the learning rate and the dropout of a step depend on the
step alone, so that resuming needs the last checkpoint and nothing else, and gives the bits it would have given anyway.
"""

import json
import math
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from hybrid_jax.config import Config, ConfigError, differences, dump_config, parse_config
from hybrid_jax.data.pipeline import Batch, Pipeline, prefetch
from hybrid_jax.hub.weights import open_pretrained, weights_digest
from hybrid_jax.runs import checkpoint
from hybrid_jax.runs.log import RunLog
from hybrid_jax.runs.provenance import provenance
from hybrid_jax.runs.workdir import check_same_sources, claim, write_text
from hybrid_jax.runtime.mesh import make_mesh, put_batch
from hybrid_jax.train.encode import make_encode
from hybrid_jax.train.objective import make_objective
from hybrid_jax.train.optim import make_optimizer, make_schedule
from hybrid_jax.train.state import abstract_state, create_state, start_from
from hybrid_jax.train.step import make_eval_step, make_train_step

HARMLESS = ("log_every", "wandb_project", "mesh", "checkpoint", "data.cache_dir", "heldout_every", "heldout_batches")
"""Fields that a resumed run may change, because they do not change what is learned (mesh: up to rounding)."""


class DivergedError(ValueError):
    """The loss is not a number; the message says where the batch's rows were written."""


def train(config: Config, workdir: Path, skip_bad_rows: bool = False) -> None:
    """Trains the run of `config` in `workdir`, from its latest checkpoint where there is one.

    Raises ConfigError, DataError, WorkdirError, CheckpointError or DivergedError, each with a one-line message.
    """
    primary = jax.process_index() == 0
    say = partial(print, flush=True) if primary else (lambda line: None)
    mesh = make_mesh(config.mesh)
    if config.batch_size % mesh.size:
        raise ConfigError(f"batch_size {config.batch_size} does not divide over {mesh.size} devices: use a multiple")
    if primary:
        claim(workdir, dump_config(config), lambda text: differences(parse_config(text), config, HARMLESS))

    pretrained = None if config.pretrained is None else open_pretrained(config.pretrained)
    pipeline = Pipeline(config.data, config.mixture, config.batch_size, config.seed, skip_bad_rows, say)
    for note in pipeline.notes:
        say(note)
    if pipeline.tokenizer.vocab_size > config.model.encoder.vocab_size:
        raise ConfigError(
            f"the tokenizer has {pipeline.tokenizer.vocab_size} tokens, but model.encoder.vocab_size is "
            f"{config.model.encoder.vocab_size}: raise it"
        )
    if primary:
        sources = {name: store.meta["source"] for name, store in pipeline.stores.items()}
        sources["the tokenizer"] = pipeline.tokenizer.digest
        if pretrained is not None:
            sources["the pretrained weights"] = weights_digest(pretrained)
        check_same_sources(workdir, sources, provenance())
        pipeline.tokenizer.save(workdir / "tokenizer")

    encode, objective = make_encode(config.model, mesh), make_objective(config.loss, mesh.size)
    schedule = make_schedule(config.optimizer, config.steps)
    optimizer = make_optimizer(config.optimizer, config.steps)
    train_step = make_train_step(encode, objective, optimizer, schedule, config.seed, mesh)
    heldout_loss = partial(_heldout, make_eval_step(encode, objective, mesh), pipeline, config, mesh)

    folder = workdir / "checkpoints"
    if checkpoint.steps(folder):
        start, state = checkpoint.restore(folder, abstract_state(config.model, optimizer, mesh), say)
        say(f"resuming {workdir} at step {start}")
    else:
        start, state = 0, create_state(config.model, optimizer, config.seed, mesh)
        if pretrained is not None:
            say(f"starting from the weights of {pretrained.folder}")
            state = start_from(pretrained, config.model, state, mesh)
    if start >= config.steps:
        say(f"{workdir} is complete: {start} of {config.steps} steps")
        return

    with checkpoint.Checkpoints(folder, config.checkpoint, start) as checkpoints:
        local_batch = partial(pipeline.batch, host=jax.process_index(), hosts=jax.process_count())
        with RunLog(workdir, start, config.steps, config.log_every, primary, config.wandb_project) as log:
            finish = _Finish(log, workdir, config.optimizer.accumulate, mesh.size)
            for batch in prefetch(local_batch, start, config.steps):
                state, metrics = train_step(state, put_batch(mesh, batch.arrays))
                finish(batch, metrics)  # of the step before, while the devices work on this one
                done = batch.plan.step + 1
                last = done == config.steps
                if config.heldout_every and (done % config.heldout_every == 0 or last):
                    finish.add(heldout_loss(state.parameters))
                if done % config.checkpoint.every == 0 or last:
                    checkpoints.save(done, state, finish.flush())
            finish.flush()
    say(f"done: {config.steps} steps, checkpoints in {workdir / 'checkpoints'}")


class _Finish:
    """Logs each step once its metrics are there, and stops the run when they are not numbers."""

    def __init__(self, log: RunLog, workdir: Path, accumulate: int, devices: int):
        self._log, self._workdir, self._accumulate, self._devices = log, workdir, accumulate, devices
        self._pending: tuple[Batch, dict[str, jax.Array]] | None = None
        self._numbers: dict[str, float] = {}
        self._heldout: dict[str, float] = {}
        self._introduced = False

    def __call__(self, batch: Batch, metrics: dict[str, jax.Array]) -> None:
        self.flush()
        self._pending = (batch, metrics)

    def add(self, heldout: dict[str, float]) -> None:
        """Held-out metrics of the pending step."""
        self._heldout = heldout

    def flush(self) -> dict[str, float]:
        """Logs the pending step, if there is one; returns the latest metrics."""
        if self._pending is None:
            return self._numbers
        (batch, metrics), self._pending = self._pending, None
        step, numbers = batch.plan.step, {name: float(value) for name, value in jax.device_get(metrics).items()}
        if not self._introduced:
            self._introduced = True
            seen, masked = numbers["negatives"] + numbers["masked"], numbers["masked"]
            self._log.say(f"each query sees {seen:.0f} negatives ({masked:.1f} masked) from {self._devices} devices")
            if self._accumulate > 1:
                self._log.say(f"gradients are averaged over {self._accumulate} batches, which adds no negatives")
        record = {
            "kind": batch.plan.kind,
            "dataset": batch.plan.dataset,
            "query_languages": dict(sorted(Counter(batch.query_languages).items())),
            "passage_languages": dict(sorted(Counter(batch.passage_languages).items())),
            "language_pairs": _language_pairs(batch),
            "rows": batch.digest,
        }
        self._log.record(step, len(batch.ids), {**record, **numbers, **self._heldout})
        if not all(math.isfinite(numbers[name]) for name in ("loss", "grad_norm")):
            path = self._workdir / f"diverged_at_step_{step}.json"
            if jax.process_index() == 0:
                shown = {name: value if math.isfinite(value) else str(value) for name, value in numbers.items()}
                write_text(path, json.dumps({"step": step, **record, "ids": batch.ids, **shown}, indent=2))
            raise DivergedError(
                f"step {step}: loss {numbers['loss']}, gradient norm {numbers['grad_norm']}; its rows are in {path}: "
                f"look at them, or lower optimizer.learning_rate"
            )
        self._numbers, self._heldout = {**numbers, **self._heldout}, {}
        return self._numbers


def _language_pairs(batch: Batch) -> dict[str, dict[str, int]]:
    """How many pairs of the batch have this query language and that passage language."""
    pairs = Counter(zip(batch.query_languages, batch.passage_languages, strict=True))
    return {
        one: {other: pairs[one, other] for other in sorted({b for a, b in pairs if a == one})}
        for one in sorted({a for a, _ in pairs})
    }


def _heldout(
    eval_step: Callable[..., dict[str, jax.Array]], pipeline: Pipeline, config: Config, mesh: Any, parameters: Any
) -> dict[str, float]:
    """The mean metrics of the held-out batches, as heldout_loss and so on."""
    host, hosts = jax.process_index(), jax.process_count()
    batches = (pipeline.heldout_batch(step, host, hosts) for step in range(config.heldout_batches))
    found = [jax.device_get(eval_step(parameters, put_batch(mesh, batch.arrays))) for batch in batches]
    return {f"heldout_{name}": float(np.mean([of[name] for of in found])) for name in ("loss", "accuracy")}
