"""One training step: a batch and a state in, the next state and its metrics out.

Knows: how model, loss, optimizer and mesh meet. Does not know: where batches come from, checkpoints, logs, how long a
run is. A step is a pure function of (state, batch, seed): it can be run again with the same result, and a resumed run
needs nothing but the state.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float

from hybrid_jax.hub.weights import Pretrained, load_parameters
from hybrid_jax.model.dual_encoder import DualEncoder, ModelConfig, Parameters, abstract, bind, initialize
from hybrid_jax.model.layers import DropoutKey
from hybrid_jax.runtime.mesh import batch_sharding, parameter_sharding, replicated
from hybrid_jax.train.loss import LossConfig, Metrics, contrastive_loss
from hybrid_jax.train.optim import Schedule

Batch = dict[str, jax.Array]
"""query_tokens, query_segments, query_group and the same of passage_; rows and groups as in `contrastive_loss`."""

ModelCode = nnx.GraphDef[DualEncoder]
LossFn = Callable[[Parameters, Batch, DropoutKey], tuple[Float[Array, ""], Metrics]]


class TrainState(NamedTuple):
    """Everything a run must save to continue: a tree of arrays."""

    parameters: Parameters
    optimizer: optax.OptState
    step: jax.Array
    """int32: how many batches have been trained on, and so the number of the next."""


TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
EvalStep = Callable[[Parameters, Batch], Metrics]


def _draw(config: ModelConfig, optimizer: optax.GradientTransformation, seed: Any) -> TrainState:
    parameters = initialize(config, seed)
    return TrainState(parameters, optimizer.init(parameters), jnp.zeros((), jnp.int32))


def abstract_state(config: ModelConfig, optimizer: optax.GradientTransformation, mesh: Mesh) -> TrainState:
    """The state as `jax.ShapeDtypeStruct`s with their shardings: what a checkpoint is restored into."""

    def placed(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=parameter_sharding(mesh, leaf.shape))

    return jax.tree.map(placed, jax.eval_shape(lambda: _draw(config, optimizer, 0)))


def create_state(config: ModelConfig, optimizer: optax.GradientTransformation, seed: int, mesh: Mesh) -> TrainState:
    """A fresh state, drawn where it belongs; the same for any number of devices."""
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract_state(config, optimizer, mesh))
    return jax.jit(partial(_draw, config, optimizer), out_shardings=shardings)(seed)


def start_from(pretrained: Pretrained, config: ModelConfig, state: TrainState, mesh: Mesh) -> TrainState:
    """A fresh state with the pretrained weights instead of random ones. Raises PretrainedError when they do not fit."""
    found = load_parameters(pretrained, config, partial(parameter_sharding, mesh), state.parameters)
    return state._replace(parameters=found)


def make_loss_fn(code: ModelCode, config: LossConfig, mesh: Mesh) -> LossFn:
    """(parameters, batch, dropout key) -> loss and metrics of the global batch, to be called under `jax.jit`."""

    def loss_fn(parameters: Parameters, batch: Batch, dropout_key: DropoutKey) -> tuple[Float[Array, ""], Metrics]:
        model = bind(code, parameters)
        queries = model.encode_queries(batch["query_tokens"], batch["query_segments"], dropout_key)
        passages = model.encode_passages(batch["passage_tokens"], batch["passage_segments"], dropout_key)
        # Each device encodes its own rows; then the gather: every device gets every passage, its queries' negatives.
        queries = jax.lax.with_sharding_constraint(queries, batch_sharding(mesh))
        passages = jax.lax.with_sharding_constraint(passages, batch_sharding(mesh))
        passages = jax.lax.with_sharding_constraint(passages, replicated(mesh))
        loss, metrics = contrastive_loss(
            queries,
            passages,
            batch["query_group"],
            batch["passage_group"],
            model.temperature,
            config.directions,
            shards=mesh.size if config.negatives == "local" else 1,
        )
        return loss, {"loss": loss, "temperature": model.temperature, **metrics}

    return loss_fn


def make_train_step(
    code: ModelCode,
    config: LossConfig,
    optimizer: optax.GradientTransformation,
    schedule: Schedule,
    seed: int,
    mesh: Mesh,
) -> TrainStep:
    """The jitted step. It consumes the state it is given (donation): use the one it returns.

    Dropout's key is the run's seed with `state.step` folded in. Metrics, all float32 and the same on every process:
    those of `contrastive_loss`, and `loss`, `temperature`, `grad_norm` (before clipping) and `learning_rate` of this
    step. Read them after the next step has been dispatched, so that the devices never wait.
    """
    loss_fn = make_loss_fn(code, config, mesh)

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        dropout_key = jax.random.fold_in(jax.random.key(seed), state.step)
        (_, metrics), gradients = jax.value_and_grad(loss_fn, has_aux=True)(state.parameters, batch, dropout_key)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.parameters)
        parameters = jax.tree.map(jnp.add, state.parameters, updates)
        metrics["grad_norm"] = optax.tree.norm(gradients)
        metrics["learning_rate"] = schedule(state.step)
        after = TrainState(parameters, optimizer_state, state.step + 1)
        # Named, not left to the compiler: a state that moved would compile the next step again.
        return jax.lax.with_sharding_constraint((after, metrics), _shardings(mesh, (after, metrics)))

    return jax.jit(train_step, donate_argnums=0)


def make_eval_step(code: ModelCode, config: LossConfig, mesh: Mesh) -> EvalStep:
    """The jitted loss and metrics of held-out batches: as in training, without dropout."""
    loss_fn = make_loss_fn(code, config, mesh)

    def eval_step(parameters: Parameters, batch: Batch) -> Metrics:
        metrics = loss_fn(parameters, batch, None)[1]
        return jax.lax.with_sharding_constraint(metrics, _shardings(mesh, metrics))

    return jax.jit(eval_step)


def model_code(config: ModelConfig) -> ModelCode:
    """The model without its parameters: what the steps are made from."""
    return abstract(config)[0]


def _shardings(mesh: Mesh, tree: Any) -> Any:
    return jax.tree.map(lambda leaf: parameter_sharding(mesh, leaf.shape), tree)
