"""The training loop: batches and a model in, checkpoints out. Read `train` from top to bottom.

A run is a pure function of its config and data. The batch, the learning rate and the dropout of a step depend on the
step's number alone, so a run that is resumed from its last checkpoint gives the same bits as one that never stopped.
"""

from collections.abc import Callable, Iterable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import jax

from hybrid_jax.config import Config, differences, dump_config, flat, parse_config
from hybrid_jax.data.batch import Batch, PackedBatch, prefetch
from hybrid_jax.data.pipeline import Pipeline
from hybrid_jax.hub.weights import open_for_run
from hybrid_jax.runs import checkpoint
from hybrid_jax.runs.keeping import Patience, evaluations, of_starts
from hybrid_jax.runs.lock import Lock, one_trainer
from hybrid_jax.runs.log import RunLog
from hybrid_jax.runs.provenance import code_and_versions, provenance
from hybrid_jax.runs.skips import Skips, read_skips
from hybrid_jax.runs.workdir import CONFIG, check_not_lost, check_same_sources, claim, note_start, values_of_starts
from hybrid_jax.runtime.agreement import check_processes_agree, check_step_agrees, of_process_0
from hybrid_jax.runtime.mesh import check_rows_divide, make_mesh, put_batch
from hybrid_jax.runtime.signals import Signals
from hybrid_jax.runtime.watchdog import Watchdog
from hybrid_jax.train.distillation import check_trained, with_teacher
from hybrid_jax.train.divergence import DivergedError, Divergence, roll_back
from hybrid_jax.train.encode import make_encode
from hybrid_jax.train.goodput import Goodput
from hybrid_jax.train.heldout import heldout_loss
from hybrid_jax.train.hooks import Hooks, completed
from hybrid_jax.train.loss import Metrics
from hybrid_jax.train.microbatch import as_begun
from hybrid_jax.train.objective import make_objective
from hybrid_jax.train.optim import left_out, make_optimizer, make_schedule
from hybrid_jax.train.outline import outline
from hybrid_jax.train.precision import with_dtype
from hybrid_jax.train.programs import choose_layouts, with_rows
from hybrid_jax.train.records import more_rows, step_record
from hybrid_jax.train.resumed import HARMLESS, OF_A_HOST, changed, incomparable
from hybrid_jax.train.sources import seen, sources_of
from hybrid_jax.train.state import abstract_state, create_state, start_from
from hybrid_jax.train.step import compiled_alone, make_eval_step, make_train_step
from hybrid_jax.train.teacher import Teacher
from hybrid_jax.train.vocabulary import check_vocabulary, new_words

NO_HOOKS = Hooks()


def train(
    config: Config,
    workdir: Path,
    skip_bad_rows: bool = False,
    signals: Signals | None = None,
    hooks: Hooks = NO_HOOKS,
) -> bool:
    """Trains the run of `config` in `workdir`, from its latest checkpoint if there is one.

    Returns whether the run is complete; otherwise `signals` told it to stop, and its last step has a checkpoint.

    Raises ValueError with a one-line message: a ConfigError, DataError, WorkdirError, CheckpointError or DivergedError,
    or what `make_mesh` says about the devices.
    """
    config = config.model_copy(update={"model": with_dtype(config.model, workdir)})
    signals = Signals() if signals is None else signals
    with one_trainer(workdir, locks=jax.process_index() == 0) as lock, signals.before_leaving(lock.release):
        skips = read_skips(workdir)
        while True:
            try:
                with Goodput() as goodput:
                    return _train(config, workdir, skip_bad_rows, lock, signals, skips, goodput, hooks)
            except DivergedError as error:
                skips = roll_back(workdir, config.divergence, config.steps, skips, error, _say())


def _train(
    config: Config,
    workdir: Path,
    skip_bad_rows: bool,
    lock: Lock,
    signals: Signals,
    skips: Skips,
    goodput: Goodput,
    hooks: Hooks,
) -> bool:
    primary = jax.process_index() == 0
    say = _say()
    mesh = make_mesh(config.mesh)
    check_rows_divide(f"batch_size {config.batch_size}", config.batch_size, mesh.size)
    if isinstance(config.microbatch_rows, int):
        check_rows_divide(f"microbatch_rows {config.microbatch_rows}", config.microbatch_rows, mesh.size, "it")
    rows = of_process_0(lambda: as_begun(config.microbatch_rows, workdir))
    config = config.model_copy(update={"microbatch_rows": rows})
    check_trained(config.distillation, config.loss, config.model.learn_temperature, hooks.objective_name)
    values = _values(config)
    fields = {name: value for name, value in values.items() if name not in OF_A_HOST}

    def refused(text: str) -> list[str]:
        begun = parse_config(text)
        starts = values_of_starts(workdir, _values(begun))
        return [*differences(begun, config, HARMLESS), *incomparable(starts, values)]

    same = "start all with the same config, code and packages"
    check_processes_agree({**fields, **code_and_versions()}, "before the first step", same)
    pretrained = None if config.pretrained is None else open_for_run(config.pretrained, config.model)
    if primary:
        claim(workdir, dump_config(config), refused)

    pipeline = Pipeline(config.data, config.mixture, config.batch_size, config.seed, skip_bad_rows, say)
    teacher = None
    if config.distillation.store is not None:
        teacher = Teacher(config.distillation, pipeline.stores, config.model.dim)
    for note in [*(pretrained.notes if pretrained else ()), *pipeline.notes, *(teacher.notes if teacher else ())]:
        say(note)
    if "aligned" in config.mixture.shares and config.loss.positives == "one":
        say("aligned batches: with loss.positives one a query's translations are left out; all makes them positives")
    check_vocabulary(pipeline.tokenizer, config.model.encoder, pretrained, config.vocabulary == "new")
    sources = {**sources_of(pipeline, pretrained, teacher), **hooks.sources}
    if config.loss.negatives == "local":  # those of a device
        sources["the number of devices"] = mesh.size
    check_processes_agree({**sources, **pipeline.digests}, "before the first step", "give all the same files")
    encode = make_encode(config.model, mesh)
    objective = make_objective(config.loss, mesh) if hooks.objective is None else completed(hooks.objective)
    objective = with_teacher(objective, config.distillation)
    schedule = make_schedule(config.optimizer, config.steps)
    optimizer = make_optimizer(config.optimizer, config.steps)
    train_step = make_train_step(encode, objective, optimizer, schedule, config.seed, mesh)
    abstract = abstract_state(config.model, optimizer, mesh)
    config = with_rows(config, pipeline, mesh, train_step, abstract, say)
    if primary:
        claim(workdir, dump_config(config), refused)  # again, as config.yaml must say which rows auto is
        check_same_sources(workdir, sources)
        pipeline.tokenizer.save(workdir / "tokenizer")
        note_start(workdir, sources, provenance(), changed(_values(_begun(workdir)), _values(config)))

    train_step = compiled_alone(train_step)
    layouts = choose_layouts(pipeline, config, mesh)
    host, hosts = jax.process_index(), jax.process_count()

    def part(batch: Batch) -> PackedBatch:
        packed = batch.pack(layouts, host, hosts, with_parallel=config.loss.parallel_weight > 0)
        return packed if teacher is None else packed._replace(teacher=teacher.vectors(batch, host, hosts))

    batches = sha256()  # training and held-out ones: gradients are shared, so that parameters do not tell of other rows

    def heldout_batches() -> Iterable[PackedBatch]:
        for batch in map(pipeline.heldout_batch, range(config.heldout_batches)):
            batches.update(batch.digest.encode())
            yield part(batch)

    measures = [heldout_loss(make_eval_step(encode, objective, mesh), heldout_batches, mesh)]
    if config.heldout_every and (heldout_pool := pipeline.heldout_pool()) is not None:
        from hybrid_jax.train.heldout_retrieval import heldout_retrieval  # imports scipy, which takes a second

        say(str(heldout_pool))
        measures.append(heldout_retrieval(heldout_pool, encode, layouts, mesh, config.checkpoint.best_metric))

    folder = workdir / "checkpoints"
    same = "give all the same folder, on a disk that they share"
    check_processes_agree(seen(workdir, folder, skips), f"in --workdir {workdir}", same)
    if checkpoint.steps(folder):
        start, state = checkpoint.restore(folder, abstract, say)
        say(f"resuming {workdir} at step {start}")
    else:
        every = of_process_0(lambda: max(start.every for start in of_starts(workdir, _begun(workdir).checkpoint)))
        check_not_lost(workdir, every)
        start, state = 0, create_state(config.model, optimizer, config.seed, mesh)
        if pretrained is not None:
            words = new_words(pretrained, pipeline.tokenizer, say) if config.vocabulary == "new" else None
            state = start_from(pretrained, config.model, state, mesh, words, config.seed)
    if start >= config.steps:
        say(f"{workdir} is complete: {start} of {config.steps} steps")
        return True
    metric = config.checkpoint.best_metric
    patience = Patience(config.checkpoint, of_process_0(lambda: evaluations(workdir, metric, start)))
    if patience.exhausted:
        say(f"{workdir} is complete: {patience}")
        return True
    if primary:
        for line in outline(config, pipeline, layouts, mesh, abstract, start, objective=hooks.objective_name):
            say(line)

    def make_batch(step: int) -> tuple[Batch, PackedBatch]:
        batch = pipeline.batch(step)
        return batch, part(batch)

    pool = sum(pipeline.rows.values())
    with (
        signals.while_stepping(),
        checkpoint.Checkpoints(folder, config.checkpoint, start) as checkpoints,
        RunLog(workdir, start, config.steps, config.log_every, primary, config.wandb_project, pool) as log,
        Watchdog(log.say, start) as watchdog,
    ):
        divergence = Divergence(workdir, config.divergence, start)
        done, stopping = start, False
        pending: tuple[Batch, Metrics, dict[str, float]] | None = None  # a step, its metrics still on the devices
        noticed = False
        goodput.started(log.seconds_lost)
        for batch, rows in goodput.waiting(prefetch(make_batch, start, config.steps)):
            done = batch.plan.step + 1
            if batch.plan.step in skips:
                state = state._replace(optimizer=left_out(state.optimizer), step=state.step + 1)
                signals.stop_after(done)  # the next step that is trained on is told, too
                continue
            if not noticed and (line := more_rows(batch.plan.step, rows, layouts, jax.process_count())):
                log.say(line)
                noticed = True
            state, metrics = train_step(state, put_batch(mesh, rows))
            batches.update(batch.digest.encode())
            if pending is not None:  # log the step before this one while the devices compute this one
                _log_step(log, divergence, goodput, hooks, *pending)
                pending = None
            last = done == config.steps
            heldout: dict[str, float] = {}
            if config.heldout_every and (done % config.heldout_every == 0 or last):
                with goodput.spent("evaluate"):
                    heldout = {name: v for measure in measures for name, v in measure(state.parameters).items()}
                patience.see(done, heldout)
                last = last or patience.exhausted
            pending = batch, metrics, heldout

            due = done % config.checkpoint.every == 0 or last
            stopping = signals.stop_after(done) and not last
            if stopping:
                log.say(f"told to stop: saving step {done} (a second signal stops without)")
            if due or stopping or (config.compare_every and done % config.compare_every == 0):
                check_step_agrees(done, batches.hexdigest()[:16], (state.parameters, state.optimizer))
            if due or stopping:  # a step is logged before its checkpoint is written
                lock.check()
                numbers = _log_step(log, divergence, goodput, hooks, *pending)
                pending = None
                log.keep()
                with goodput.spent("save"):
                    checkpoints.save(done, state, numbers, may_be_best=due)
            if stopping or last:
                break
            watchdog.done(done)
    if stopping:
        say(f"stopped after {done} of {config.steps} steps, all of them saved; the same command resumes {workdir}")
        return False
    say(f"done: {config.steps} steps, checkpoints in {folder}" if done == config.steps else str(patience))
    return True


def _begun(workdir: Path) -> Config:
    """The config of the run's first start."""
    return parse_config((workdir / CONFIG).read_text(encoding="utf-8"))


def _values(config: Config) -> dict[str, Any]:
    return flat(config.model_dump(mode="json"))


def _say() -> Callable[[str], None]:
    """Prints a line, in process 0."""
    return partial(print, flush=True) if jax.process_index() == 0 else (lambda line: None)


def _log_step(
    log: RunLog,
    divergence: Divergence,
    goodput: Goodput,
    hooks: Hooks,
    batch: Batch,
    metrics: Metrics,
    heldout: dict[str, float],
) -> dict[str, float]:
    """Logs this step and returns its numbers. Raises DivergedError as `Divergence.check` does."""
    numbers = _numbers(metrics)
    record = {**step_record(batch, {**numbers, **heldout}), "seconds": goodput.take()}
    log.record(batch.plan.step, len(batch.ids), record)
    if hooks.on_step is not None and jax.process_index() == 0:
        hooks.on_step({"step": batch.plan.step, **record})
    divergence.check(batch, numbers)
    return {**numbers, **heldout}


def _numbers(metrics: Metrics) -> dict[str, float]:
    """Metrics as Python floats; waits for the devices to have computed them."""
    return {name: float(value) for name, value in jax.device_get(metrics).items()}
