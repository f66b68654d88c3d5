"""What a run will need, without running it: its programs are compiled, and their memory is read from the compiler."""

from collections.abc import Callable

from hybrid_jax.config import Config
from hybrid_jax.data.pipeline import Pipeline
from hybrid_jax.hub.weights import open_for_run
from hybrid_jax.runtime.memory import device_memory, size
from hybrid_jax.runtime.mesh import make_mesh
from hybrid_jax.train.distillation import check_trained, with_teacher
from hybrid_jax.train.encode import make_encode
from hybrid_jax.train.microbatch import Need
from hybrid_jax.train.objective import make_objective
from hybrid_jax.train.optim import make_optimizer, make_schedule
from hybrid_jax.train.outline import outline
from hybrid_jax.train.precision import with_dtype
from hybrid_jax.train.programs import choose_layouts, compile_step, shapes_of, too_large, with_rows
from hybrid_jax.train.state import abstract_state
from hybrid_jax.train.step import make_train_step
from hybrid_jax.train.vocabulary import check_vocabulary


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
    step = make_train_step(
        make_encode(config.model, mesh),
        with_teacher(make_objective(config.loss, mesh), config.distillation),
        make_optimizer(config.optimizer, config.steps),
        make_schedule(config.optimizer, config.steps),
        config.seed,
        mesh,
    )
    state = abstract_state(config.model, make_optimizer(config.optimizer, config.steps), mesh)
    config = with_rows(config, pipeline, mesh, step, state, say, memory)
    layouts = choose_layouts(pipeline, config, mesh)
    notes = [*(pretrained.notes if pretrained else ()), *pipeline.notes]
    for line in [*notes, *outline(config, pipeline, layouts, mesh, state, memory=memory)]:
        say(line)
    largest = Need(0, 0)
    for shapes in shapes_of(layouts):
        program = compile_step(config, mesh, step, state, shapes)
        if program is None:
            raise too_large(config, None, memory)
        largest = max(largest, program.need, key=lambda need: need.all)
        rows = " and ".join(f"{chunks} x {rows}" if chunks > 1 else f"{rows}" for chunks, rows, *_ in shapes)
        counts = ", ".join(f"{number} {kind}" for kind, number in sorted(program.collectives.items())) or "none"
        needs = f"{size(program.need.held)} held and {size(program.need.temporary)} while it runs"
        say(f"program of {rows} rows: {needs}; collectives: {counts}")
    if memory is None:
        say(f"largest: {size(largest.all)}; the devices do not say what they have")
        return
    if largest.all > memory:
        raise too_large(config, largest, memory)
    say(f"fits: {size(largest.all)} of {size(memory)}")
