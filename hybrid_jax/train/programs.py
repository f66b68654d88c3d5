"""The programs of a run, compiled before its first step: what the compiler says that they need on each device."""

import platform
import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from hybrid_jax.config import Config, ConfigError
from hybrid_jax.data.batch import PackedBatch, TeacherVectors
from hybrid_jax.data.layout import Layout
from hybrid_jax.data.packing import PackedTexts
from hybrid_jax.data.pipeline import Pipeline
from hybrid_jax.model.kernels import row_length_multiple
from hybrid_jax.runtime.agreement import check_processes_agree, of_all_processes
from hybrid_jax.runtime.memory import device_memory, size
from hybrid_jax.runtime.mesh import rows_sharding
from hybrid_jax.train.microbatch import DoesNotFitError, Need, choose
from hybrid_jax.train.state import TrainState
from hybrid_jax.train.step import TrainStep

COLLECTIVE = re.compile(r"= .*?\b(all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\(")
Shapes = Sequence[tuple[int, int, int, int]]
"""(chunks, rows of a chunk, length, slots) of each side of a batch."""


class Program(NamedTuple):
    """One compiled step, on one device."""

    need: Need
    collectives: Counter[str]
    """How often each kind of communication between devices stands in it."""


def choose_layouts(pipeline: Pipeline, config: Config, mesh: Mesh) -> list[Layout]:
    """The shapes of this run's rows: one layout, or two where queries and passages have a tower each."""
    assert config.microbatch_rows != "auto", "with_rows comes first"
    return pipeline.layouts(
        config.steps,
        apart=not config.model.tied,
        multiple=row_length_multiple(),
        devices=mesh.size,
        microbatch_rows=config.microbatch_rows,
    )


def with_rows(
    config: Config,
    pipeline: Pipeline,
    mesh: Mesh,
    step: TrainStep,
    state: TrainState,
    say: Callable[[str], None],
    memory: int | None = None,
) -> Config:
    """`config` with a `microbatch_rows` that is "auto" replaced by what `microbatch.choose` chooses, which it says.

    `state` is that of `abstract_state`. `memory` is what a device has, in bytes; by default it is asked, and that of
    the process with the least counts. All processes must call this.

    Raises ConfigError if the devices do not say what they have, and if one row on each does not fit.
    """
    if config.microbatch_rows != "auto":
        return config
    memory = _least_memory(mesh, device_memory(mesh) if memory is None else memory)

    def layouts(rows: int | None) -> list[Layout]:
        return choose_layouts(pipeline, config.model_copy(update={"microbatch_rows": rows}), mesh)

    def compiled(rows: int | None) -> Need | None:
        program = compile_step(config, mesh, step, state, max(shapes_of(layouts(rows)), key=_at_a_time))
        return None if program is None else program.need

    try:
        most = max(layout.rows[-1] for layout in layouts(None))
        rows, need, whole = choose(compiled, most, mesh.size, memory)
    except DoesNotFitError as error:
        raise too_large(config, error.need, memory) from None
    check_processes_agree({"microbatch_rows": rows}, "before the first step", "give a number instead of auto")
    number = "null" if rows is None else str(rows)
    what = "the whole batch at once" if rows is None else "a step then"
    otherwise = "" if rows is None or whole is None else f"; the whole batch at once needs {size(whole.all)}"
    say(f"microbatch_rows {number} (auto): {what} needs {size(need.all)} of {size(memory)} on each device{otherwise}")
    return config.model_copy(update={"microbatch_rows": rows})


def _least_memory(mesh: Mesh, memory: int | None) -> int:
    """The least of all processes' memory of a device. Processes on one machine share that of its CPU."""
    everyone = of_all_processes((memory, platform.node()))
    said = [(own, machine) for own, machine in everyone if own is not None]
    if len(said) < len(everyone):
        raise ConfigError(
            "microbatch_rows auto: the devices do not say how much memory they have: give a number of rows instead"
        )
    if mesh.local_devices[0].platform != "cpu":
        return min(own for own, _ in said)
    processes = Counter(machine for _, machine in said)
    return min(own // processes[machine] for own, machine in said)


def shapes_of(layouts: Sequence[Layout]) -> list[Shapes]:
    """The shapes of each program of a run."""
    return [
        [layout.shape(rows) for layout, rows in zip(layouts, needed, strict=True)]
        for needed in product(*(layout.rows for layout in layouts))
    ]


def compile_step(config: Config, mesh: Mesh, step: TrainStep, state: TrainState, shapes: Shapes) -> Program | None:
    """The program of `step` for a batch of these shapes; None where the compiler finds that it does not fit.

    `state` is that of `abstract_state`. A TPU's compiler refuses what does not fit; others say how much it needs.
    """
    lowered = step.lower(state, _batch(config, mesh, shapes))  # pyright: ignore[reportFunctionMemberAccess]
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            return None
        raise
    analysis = compiled.memory_analysis()
    temporary = analysis.temp_size_in_bytes + analysis.output_size_in_bytes - analysis.alias_size_in_bytes
    return Program(Need(analysis.argument_size_in_bytes, temporary), Counter(COLLECTIVE.findall(compiled.as_text())))


def too_large(config: Config, need: Need | None, memory: int | None) -> ConfigError:
    """The error for a step with this need on each device, which has `memory` bytes; None where that is unknown."""
    auto = config.microbatch_rows == "auto"
    needs = "more than a device has"
    if need is not None and memory is not None:
        needs = f"{size(need.all)} on each device, which has {size(memory)}"
    return ConfigError(
        f"{'even with one row at a time on each device ' if auto else ''}a step needs {needs}: set "
        f"{'' if auto else 'microbatch_rows (it bounds what is encoded at a time), '}model.encoder.remat true, or "
        f"mesh.fsdp above {config.mesh.fsdp}; or lower batch_size {config.batch_size}"
    )


def _at_a_time(shapes: Shapes) -> tuple[int, int]:
    """(tokens that are encoded at a time, tokens in all): the program in which they are most needs most memory."""
    return (
        sum(rows * length for _, rows, length, _ in shapes),
        sum(chunks * rows * length for chunks, rows, length, _ in shapes),
    )


def _batch(config: Config, mesh: Mesh, shapes: Shapes) -> PackedBatch:
    """A batch of these shapes as `jax.ShapeDtypeStruct`s."""

    def rows(*shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, jnp.int32, sharding=rows_sharding(mesh, len(shape)))

    sides = tuple(
        PackedTexts(rows(chunks, count, length), rows(chunks, count, length), rows(chunks, count, slots))
        for chunks, count, length, slots in shapes
    )
    groups = rows(config.batch_size), rows(config.batch_size * (1 + config.data.hard_negatives))
    batch = PackedBatch(sides, *groups, rows(config.batch_size) if config.loss.parallel_weight else None)
    if config.distillation.store is None:
        return batch
    shape = config.batch_size, config.model.dim
    vectors = jax.ShapeDtypeStruct(shape, jnp.float32, sharding=rows_sharding(mesh, len(shape)))
    return batch._replace(teacher=TeacherVectors(vectors, vectors))
