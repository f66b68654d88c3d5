"""Whether all processes of a run mean the same: what they read and run is compared at the start, what they compute now
and then.

Without this, a process with another seed or other data trains along, and the run ends with wrong parameters and status
0. All processes gather what all have, so that all of them notice, and end, at the same place.
"""

import json
import socket
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

T = TypeVar("T")

_UNIT = 4096
"""What is gathered is filled up to a multiple of so many bytes, since each size is compiled."""
_SHOWN, _LONGEST = 3, 60


class DisagreementError(ValueError):
    """The processes differ in what must be the same; the message names the fields and the hosts."""


def check_processes_agree(facts: Mapping[str, object], when: str, advice: str) -> None:
    """Compares facts, such as fields of the config, by their text. All processes must call this; none is alone.

    Raises DisagreementError in every process when one of them has another fact than process 0. The message begins with
    `when` and ends with `advice`.
    """
    if jax.process_count() == 1:
        return
    own = {"host": socket.gethostname(), "facts": {name: _short(str(value)) for name, value in facts.items()}}
    everyone = _gather(json.dumps(own).encode())
    first = everyone[0]["facts"]
    different = [
        f"{name} is {process['facts'].get(name)} in process {number} on {process['host']}, and {first.get(name)} in "
        f"process 0 on {everyone[0]['host']}"
        for number, process in enumerate(everyone)
        for name in {**first, **process["facts"]}
        if process["facts"].get(name) != first.get(name)
    ]
    if different:
        more = f" (and {len(different) - _SHOWN} more)" if len(different) > _SHOWN else ""
        raise DisagreementError(f"{when} the processes differ: {'; '.join(different[:_SHOWN])}{more}: {advice}")


def of_process_0(compute: Callable[[], T]) -> T:
    """What `compute` gives in process 0, in all processes; only process 0 calls it. All processes must call this.

    With several processes the value travels as JSON: numbers and strings, in lists and in dicts by name.
    """
    if jax.process_count() == 1:
        return compute()
    own = json.dumps(compute() if jax.process_index() == 0 else None).encode()
    return _gather(own)[0]


def of_all_processes(value: T) -> list[T]:
    """The values of all processes, in their order, which travel as those of `of_process_0`. All must call this."""
    return [value] if jax.process_count() == 1 else _gather(json.dumps(value).encode())


@jax.jit
def bit_sum(tree: Any) -> jax.Array:
    """uint32: the sum of the bits of all arrays, modulo 2^32. A single changed bit changes it, NaN or not.

    A device computes it of its own copy of the arrays, so that the value in one process tells its copy from another's.
    """
    total = jnp.uint32(0)
    for leaf in jax.tree.leaves(tree):
        unsigned = jnp.dtype(f"uint{8 * leaf.dtype.itemsize}")
        total += jnp.sum(jax.lax.bitcast_convert_type(leaf, unsigned), dtype=jnp.uint32)
    return total


def check_step_agrees(step: int, batches: str, state: Any) -> None:
    """Compares the digest of all batches up to a step and the state after it. All processes must call this.

    Waits for the devices of a run of several processes. Raises DisagreementError as `check_processes_agree` does.
    """
    if jax.process_count() > 1:
        sums = {int(np.asarray(shard.data)) for shard in bit_sum(state).addressable_shards}
        bits = " and ".join(map(str, sorted(sums)))
        facts = {"the digest of the batches": batches, "the sum of the state's bits": bits}
        advice = "nothing was saved since they last agreed; start all again, and if it happens again, look at that host"
        check_processes_agree(facts, f"after step {step}", advice)


def _short(text: str) -> str:
    """The text itself, or its beginning and a hash of all of it."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({sha256(text.encode()).hexdigest()[:8]})"


def _gather(own: bytes) -> list[Any]:
    size = int(np.max(multihost_utils.process_allgather(np.int32(len(own)))))
    filled = np.frombuffer(own.ljust(-(-size // _UNIT) * _UNIT), np.uint8)
    return [json.loads(row.tobytes()) for row in multihost_utils.process_allgather(filled)]
