"""The state of a run: everything that a checkpoint must hold for the run to continue, as one tree of arrays."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from hybrid_jax.hub.vocabulary import load_with_new_words
from hybrid_jax.hub.weights import Pretrained, load_parameters
from hybrid_jax.model.dual_encoder import ModelConfig, Parameters, initialize
from hybrid_jax.runtime.mesh import parameter_sharding
from hybrid_jax.train.optim import Optimizer


class TrainState(NamedTuple):
    parameters: Parameters
    optimizer: optax.OptState
    step: jax.Array
    """int32 scalar: the number of batches trained on, which is also the number of the next step."""


def abstract_state(config: ModelConfig, optimizer: Optimizer, mesh: Mesh) -> TrainState:
    """The state as `jax.ShapeDtypeStruct`s with their shardings: what a checkpoint is restored into."""

    def placed(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=parameter_sharding(mesh, leaf.shape))

    return jax.tree.map(placed, jax.eval_shape(lambda: _initial_state(config, optimizer, 0)))


def create_state(config: ModelConfig, optimizer: Optimizer, seed: int, mesh: Mesh) -> TrainState:
    """The state before the first step, with random parameters; the same for any number of devices.

    Each device creates only the part that it keeps.
    """
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract_state(config, optimizer, mesh))
    return jax.jit(partial(_initial_state, config, optimizer), out_shardings=shardings)(seed)


def start_from(
    pretrained: Pretrained,
    config: ModelConfig,
    state: TrainState,
    mesh: Mesh,
    old_tokens: Sequence[Sequence[int]] | None,
    seed: int,
) -> TrainState:
    """`state` with the pretrained weights in place of its random parameters.

    With `old_tokens` the word embedding is that of a new vocabulary (see `load_with_new_words`). Raises PretrainedError
    when the weights do not fit the model.
    """
    what = pretrained, config, partial(parameter_sharding, mesh), state.parameters
    parameters = load_parameters(*what) if old_tokens is None else load_with_new_words(*what, old_tokens, seed)
    return state._replace(parameters=parameters)


def _initial_state(config: ModelConfig, optimizer: Optimizer, seed: Any) -> TrainState:
    parameters = initialize(config, seed)
    return TrainState(parameters, optimizer.init(parameters), jnp.zeros((), jnp.int32))
