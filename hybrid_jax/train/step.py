"""One training step: a state and a batch in, the next state and the step's metrics out.

The step is given the model as a function `encode` and the loss as a function `objective`; it differentiates one after
the other and updates the parameters. It is a pure function of (state, batch, seed), so a resumed run needs nothing but
the state.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float

from hybrid_jax.data.batch import PackedBatch
from hybrid_jax.runtime.mesh import parameter_sharding
from hybrid_jax.train.encode import Encode
from hybrid_jax.train.loss import Metrics
from hybrid_jax.train.objective import Groups, Objective
from hybrid_jax.train.optim import Optimizer, Schedule
from hybrid_jax.train.state import TrainState

TrainStep = Callable[[TrainState, PackedBatch], tuple[TrainState, Metrics]]
EvalStep = Callable[[Any, PackedBatch], Metrics]
"""(parameters, batch) -> metrics."""


def make_train_step(
    encode: Encode,
    objective: Objective,
    optimizer: Optimizer,
    schedule: Schedule,
    seed: int,
    mesh: Mesh,
) -> TrainStep:
    """The jitted training step. It donates the state it is given: use the returned state from then on.

    The dropout key of a step is the run's seed with `state.step` folded in. The metrics are float32 scalars, the same
    on every process: the objective's, and `loss`, `temperature`, `grad_norm` (before clipping) and `learning_rate`.
    Read them after the next step has been dispatched, so that the devices never wait.
    """

    def train_step(state: TrainState, batch: PackedBatch) -> tuple[TrainState, Metrics]:
        dropout_key = jax.random.fold_in(jax.random.key(seed), state.step)

        def loss_fn(parameters: Any) -> tuple[Float[Array, ""], Metrics]:
            return measure(encode, objective, parameters, batch, dropout_key)

        (_, metrics), gradients = jax.value_and_grad(loss_fn, has_aux=True)(state.parameters)
        # Without this, lazy embeddings would gather the whole gradient on every device before taking rows of it.
        gradients = jax.lax.with_sharding_constraint(gradients, _shardings(mesh, gradients))
        tokens = jnp.concatenate([texts.tokens.ravel() for texts in batch.sides])
        parameters, optimizer_state, metrics["grad_norm"] = optimizer.apply(
            state.parameters, gradients, state.optimizer, tokens
        )
        metrics["learning_rate"] = schedule(state.step)
        next_state = TrainState(parameters, optimizer_state, state.step + 1)
        # Without this the compiler may place the new state elsewhere, and the next step would be compiled again.
        return jax.lax.with_sharding_constraint((next_state, metrics), _shardings(mesh, (next_state, metrics)))

    return jax.jit(train_step, donate_argnums=0)


def compiled_alone(step: TrainStep) -> TrainStep:
    """`step`, which before it is compiled for further shapes of rows waits until no other step is running.

    On a CPU the compiler's memory would come on top of that of the running step.
    """
    seen: set[tuple[tuple[int, ...], ...]] = set()

    def call(state: TrainState, batch: PackedBatch) -> tuple[TrainState, Metrics]:
        shapes = tuple(texts.tokens.shape for texts in batch.sides)
        if shapes not in seen:
            jax.block_until_ready(state)
            seen.add(shapes)
        return step(state, batch)

    return call


def make_eval_step(encode: Encode, objective: Objective, mesh: Mesh) -> EvalStep:
    """The jitted metrics of a held-out batch: as in training, without dropout and without an update."""

    def eval_step(parameters: Any, batch: PackedBatch) -> Metrics:
        _, metrics = measure(encode, objective, parameters, batch, None)
        return jax.lax.with_sharding_constraint(metrics, _shardings(mesh, metrics))

    return jax.jit(eval_step)


def measure(
    encode: Encode, objective: Objective, parameters: Any, batch: PackedBatch, dropout_key: jax.Array | None
) -> tuple[Float[Array, ""], Metrics]:
    """The loss of a global batch, and its metrics: the objective's, `loss` and `temperature`."""
    vectors = encode(parameters, batch, dropout_key)
    loss, metrics = objective(vectors, Groups(batch.query_group, batch.passage_group, batch.parallel))
    return loss, {"loss": loss, "temperature": vectors.temperature, **metrics}


def _shardings(mesh: Mesh, tree: Any) -> Any:
    return jax.tree.map(lambda leaf: parameter_sharding(mesh, leaf.shape), tree)
