"""What a run will need, without running it: its programs are compiled, and their memory is read from the compiler."""

import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from hybrid_jax.config import Config, ConfigError
from hybrid_jax.data.batch import PackedBatch, TeacherVectors
from hybrid_jax.data.layout import Layout
from hybrid_jax.data.packing import PackedTexts
from hybrid_jax.data.pipeline import Pipeline
from hybrid_jax.runtime.mesh import make_mesh, rows_sharding
from hybrid_jax.train.distillation import with_teacher
from hybrid_jax.train.encode import make_encode
from hybrid_jax.train.loop import choose_layouts
from hybrid_jax.train.objective import make_objective
from hybrid_jax.train.optim import make_optimizer, make_schedule
from hybrid_jax.train.precision import with_dtype
from hybrid_jax.train.state import TrainState, abstract_state
from hybrid_jax.train.step import make_train_step

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
    mesh = make_mesh(config.mesh)
    memory = _memory(mesh) if memory is None else memory
    say(f"{mesh.size} x {mesh.devices.flat[0].platform}, {_size(memory)} each")
    pipeline = Pipeline(config.data, config.mixture, config.batch_size, config.seed, skip_bad_rows, say)
    layouts = choose_layouts(pipeline, config, mesh)
    for layout in layouts:
        say(str(layout))
    say(f"matrix products in {config.model.encoder.dtype}, parameters in float32")

    state = abstract_state(config.model, make_optimizer(config.optimizer, config.steps), mesh)
    count = sum(leaf.size for leaf in jax.tree.leaves(state.parameters))
    of_parameters, of_moments = _bytes_on_one(state.parameters), _bytes_on_one(state.optimizer)
    say(f"parameters: {count:,}; on each device {_size(of_parameters)}, and {_size(of_moments)} of optimizer state")
    largest = 0
    for program in _programs(config, mesh, state, layouts):
        largest = max(largest, program.held + program.temporary)
        counts = ", ".join(f"{number} {kind}" for kind, number in sorted(program.collectives.items())) or "none"
        needs = f"{_size(program.held)} held and {_size(program.temporary)} while it runs"
        say(f"program of {program.rows} rows: {needs}; collectives: {counts}")
    if largest > memory:
        raise ConfigError(
            f"a step needs {_size(largest)} on each device, which has {_size(memory)}: set microbatch_rows (it bounds "
            f"what is encoded at a time), model.encoder.remat true, or mesh.fsdp above {config.mesh.fsdp}; or lower "
            f"batch_size {config.batch_size}"
        )
    say(f"fits: {_size(largest)} of {_size(memory)}")


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
    if config.distillation.store is None:
        return PackedBatch(sides, *groups)
    shape = config.batch_size, config.model.dim
    vectors = jax.ShapeDtypeStruct(shape, jnp.float32, sharding=rows_sharding(mesh, len(shape)))
    return PackedBatch(sides, *groups, TeacherVectors(vectors, vectors))


def _bytes_on_one(tree: Any) -> int:
    """Bytes of a tree of `jax.ShapeDtypeStruct`s on one device."""
    leaves = jax.tree.leaves(tree)
    shards = [leaf.sharding.shard_shape(leaf.shape) for leaf in leaves]
    return sum(leaf.dtype.itemsize * math.prod(shard) for leaf, shard in zip(leaves, shards, strict=True))


def _memory(mesh: Mesh) -> int:
    """Bytes of a device: of an accelerator what it allows, of a CPU its share of the machine's memory."""
    device = mesh.local_devices[0]
    if device.platform != "cpu":
        return int((device.memory_stats() or {})["bytes_limit"])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // len(mesh.local_devices)


def _size(number: int) -> str:
    unit, name = next((u, n) for u, n in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")) if number >= u or n == "KiB")
    return f"{number / unit:.{2 if name == 'GiB' else 1}f} {name}"
