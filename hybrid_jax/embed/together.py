"""Encoding by several processes: process 0 does the work of a command, and the others encode their share of its texts.

Only process 0 reads tasks and corpora, searches, and writes. When it encodes, it tells the others the shape of the
rows, and sends the rows. So they need the model's files and nothing else, and cannot come to do different things.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import jax
import numpy as np
from jax._src import distributed  # the client of the coordination service, which runtime/peers.py uses too
from jax.experimental import multihost_utils

from hybrid_jax.model.dual_encoder import Side

_BEGIN, _KEY, _STOP = "hybrid_jax/begin", "hybrid_jax/encode", "stop"
_LOOK_MS = 10_000
"""How long a process waits for the next call before it asks again. The leader may search for hours between two."""
_LOADING_MS = 1_800_000
"""How long one process waits for another that still loads the model."""
_numbers = count()
"""Calls are numbered through, the same in all processes."""


def leads() -> bool:
    """Whether this process does the work of the command: process 0, or the only one."""
    return jax.process_index() == 0


def share(side: Side, rows: Any) -> Any:
    """This process' part of the rows, in process 0: int32[1, rows, length] arrays, of which each gets an equal part.

    Tells the others, which must be in `followed`. With a single process the rows themselves are returned.
    """
    if jax.process_count() == 1:
        return rows
    leaves, tree = jax.tree.flatten(rows)
    key = f"{_KEY}/{next(_numbers)}"
    _client().key_value_set(key, json.dumps([side, *map(list, (leaf.shape for leaf in leaves))]))
    return jax.tree.unflatten(tree, _broadcast(key, leaves))


@contextmanager
def leading() -> Iterator[None]:
    """In process 0: calls the others, which load the model with it, and lets them go when the block ends well."""
    if jax.process_count() > 1:
        _client().key_value_set(_BEGIN, "")
    yield
    if jax.process_count() > 1:
        _client().key_value_set(f"{_KEY}/{next(_numbers)}", json.dumps([_STOP]))


def wait_for_leader() -> None:
    """In the other processes: returns when process 0 is about to load the model, which all do together."""
    _wait(_BEGIN)


def followed() -> Iterator[tuple[Side, list[np.ndarray]]]:
    """In the other processes: the side and this process' part of each call's rows, until process 0 lets them go."""
    while True:
        key = f"{_KEY}/{next(_numbers)}"
        side, *shapes = json.loads(_wait(key))
        if side == _STOP:
            return
        yield side, _broadcast(key, [np.zeros(shape, np.int32) for shape in shapes])


def _broadcast(key: str, leaves: list[np.ndarray]) -> list[np.ndarray]:
    _client().wait_at_barrier(f"{key}/ready", _LOADING_MS)  # else the first collective waits for 30 s only, on CPUs
    whole = multihost_utils.broadcast_one_to_all([np.asarray(leaf, np.int32) for leaf in leaves])
    number, processes = jax.process_index(), jax.process_count()
    return [np.split(np.asarray(leaf), processes, axis=1)[number] for leaf in whole]


def _wait(key: str) -> str:
    while True:
        try:
            return _client().blocking_key_value_get(key, _LOOK_MS)
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise


def _client() -> Any:
    return distributed.global_state.client
