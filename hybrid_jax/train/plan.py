"""What a run will need, without running it: its programs are compiled, and their memory is read from the compiler."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
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
from hybrid_jax.hub.weights import open_for_run
from hybrid_jax.runtime.memory import device_memory, size
from hybrid_jax.runtime.mesh import make_mesh, rows_sharding
from hybrid_jax.train.distillation import check_trained, with_teacher
from hybrid_jax.train.encode import make_encode
from hybrid_jax.train.loop import choose_layouts
from hybrid_jax.train.objective import make_objective
from hybrid_jax.train.optim import make_optimizer, make_schedule
from hybrid_jax.train.outline import outline
from hybrid_jax.train.precision import with_dtype
from hybrid_jax.train.state import TrainState, abstract_state
from hybrid_jax.train.step import make_train_step
from hybrid_jax.train.vocabulary import check_vocabulary

COLLECTIVE = re.compile(r"= .*?\b(all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\(")


class Program(NamedTuple):
    """One compiled step, on one device."""

    rows: str
    """Its rows, as in "24" or "2 x 16"."""
    held: int
    """Bytes of what it is given: parameters, moments and batch."""
    temporary: int
    """Bytes that it needs besides while it runs: activations and gradients."""
    collectives: Counter[str]
    """How often each kind of communication between devices stands in it."""


def plan(config: Config, skip_bad_rows: bool, say: Callable[[str], None], memory: int | None = None) -> None:
    """Says what the run of `config` needs on each device; prepares its data, but trains nothing.

    `memory` is what a device has, in bytes; by default it is asked. Raises ConfigError if a program needs more.
    """
    config = config.model_copy(update={"model": with_dtype(config.model)})
    check_trained(config.distillation, config.loss, config.model.learn_temperature)
    mesh = make_mesh(config.mesh)
    memory = device_memory(mesh) if memory is None else memory
    pretrained = None if config.pretrained is None else open_for_run(config.pretrained, config.model)
    pipeline = Pipeline(config.data, config.mixture, config.batch_size, config.seed, skip_bad_rows, say)
    check_vocabulary(pipeline.tokenizer, config.model.encoder, pretrained, config.vocabulary == "new")
    layouts = choose_layouts(pipeline, config, mesh)
    state = abstract_state(config.model, make_optimizer(config.optimizer, config.steps), mesh)
    notes = [*(pretrained.notes if pretrained else ()), *pipeline.notes]
    for line in [*notes, *outline(config, pipeline, layouts, mesh, state, memory=memory)]:
        say(line)
    largest = 0
    for program in _programs(config, mesh, state, layouts):
        largest = max(largest, program.held + program.temporary)
        counts = ", ".join(f"{number} {kind}" for kind, number in sorted(program.collectives.items())) or "none"
        needs = f"{size(program.held)} held and {size(program.temporary)} while it runs"
        say(f"program of {program.rows} rows: {needs}; collectives: {counts}")
    if memory is None:
        say(f"largest: {size(largest)}; the devices do not say what they have")
        return
    if largest > memory:
        raise ConfigError(
            f"a step needs {size(largest)} on each device, which has {size(memory)}: set microbatch_rows (it bounds "
            f"what is encoded at a time), model.encoder.remat true, or mesh.fsdp above {config.mesh.fsdp}; or lower "
            f"batch_size {config.batch_size}"
        )
    say(f"fits: {size(largest)} of {size(memory)}")


def _programs(config: Config, mesh: Mesh, state: TrainState, layouts: Sequence[Layout]) -> Iterator[Program]:
    step = make_train_step(
        make_encode(config.model, mesh),
        with_teacher(make_objective(config.loss, mesh), config.distillation),
        make_optimizer(config.optimizer, config.steps),
        make_schedule(config.optimizer, config.steps),
        config.seed,
        mesh,
    )
    for needed in product(*(layout.rows for layout in layouts)):
        shapes = [layout.shape(rows) for layout, rows in zip(layouts, needed, strict=True)]
        compiled = step.lower(state, _batch(config, mesh, shapes)).compile()  # pyright: ignore[reportFunctionMemberAccess]
        analysis = compiled.memory_analysis()
        yield Program(
            rows=" and ".join(f"{chunks} x {rows}" if chunks > 1 else f"{rows}" for chunks, rows, *_ in shapes),
            held=analysis.argument_size_in_bytes,
            temporary=analysis.temp_size_in_bytes + analysis.output_size_in_bytes - analysis.alias_size_in_bytes,
            collectives=Counter(COLLECTIVE.findall(compiled.as_text())),
        )


def _batch(config: Config, mesh: Mesh, shapes: Sequence[tuple[int, int, int, int]]) -> PackedBatch:
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
