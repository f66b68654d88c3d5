"""The machine as a grid of devices: joining processes, building the mesh, and which array lies where.

Knows: processes, devices, the two mesh axes and the few shardings made of them. Does not know: models, losses, data
sources. This is the one place where a sharding is spelled out; the rest of the code asks for it by name.

The mesh has two axes, "data" and "fsdp". A batch's rows are split over both; matrices of parameters (and their Adam
moments) are split over "fsdp" only, and are whole on every device when `fsdp` is 1.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from pydantic import BaseModel, ConfigDict, Field

AXES = ("data", "fsdp")

_COORDINATOR = "HYBRID_JAX_COORDINATOR"
_NUM_PROCESSES = "HYBRID_JAX_NUM_PROCESSES"
_PROCESS_ID = "HYBRID_JAX_PROCESS_ID"
_DISTRIBUTED = "HYBRID_JAX_DISTRIBUTED"


class MeshConfig(BaseModel):
    """How the devices are arranged. Their product is the number of devices used; rows are split over all of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: int = Field(default=-1, ge=-1)
    """Devices along "data", each holding a whole copy of the parameters (per fsdp group); -1 = all that are left."""
    fsdp: int = Field(default=1, ge=1)
    """Devices that share one copy of the parameters and of the optimizer's moments; 1 = every device has its own."""


def start_distributed() -> None:
    """Joins this process to the others, if there are others. Call it once, before jax touches a device.

    Reads the environment: HYBRID_JAX_COORDINATOR (host:port of process 0), HYBRID_JAX_NUM_PROCESSES and
    HYBRID_JAX_PROCESS_ID together; or HYBRID_JAX_DISTRIBUTED=auto on a TPU pod, GKE or Slurm, where jax finds them
    itself. With none of them set this is a single-process run and nothing happens.

    Raises ValueError when only some of the three are set, or one is not a number where a number is due.
    """
    automatic = os.environ.get(_DISTRIBUTED)
    explicit = {name: os.environ[name] for name in (_COORDINATOR, _NUM_PROCESSES, _PROCESS_ID) if name in os.environ}
    if automatic is not None:
        if automatic != "auto":
            raise ValueError(f"{_DISTRIBUTED}={automatic!r}: the only value is 'auto'; unset it for a single process")
        if explicit:
            raise ValueError(f"{_DISTRIBUTED}=auto and {', '.join(explicit)} are both set: unset one or the other")
        jax.distributed.initialize()
    elif explicit:
        missing = [name for name in (_COORDINATOR, _NUM_PROCESSES, _PROCESS_ID) if name not in explicit]
        if missing:
            raise ValueError(f"{', '.join(explicit)} set but not {', '.join(missing)}: set all three, or none")
        count, number = (_whole_number(name, explicit[name]) for name in (_NUM_PROCESSES, _PROCESS_ID))
        if number >= count:
            raise ValueError(f"{_PROCESS_ID}={number} with {_NUM_PROCESSES}={count}: processes count from 0")
        jax.distributed.initialize(explicit[_COORDINATOR], count, number, initialization_timeout=60)


def make_mesh(config: MeshConfig, devices: Sequence[Any] | None = None) -> Mesh:
    """The mesh `config` asks for, over `devices` (default: every device of every process).

    Raises ValueError when there are fewer devices than asked for, when `fsdp` does not divide them, or when a run of
    several processes would leave devices out (each process must own a part of every batch).
    """
    devices = jax.devices() if devices is None else devices
    data = config.data
    if data == 0:
        raise ValueError("mesh.data is 0: give the number of devices, or -1 for all of them")
    if data == -1:
        if len(devices) % config.fsdp:
            raise ValueError(
                f"mesh.fsdp {config.fsdp} does not divide the {len(devices)} devices: {_divisors(devices)}"
            )
        data = len(devices) // config.fsdp
    wanted = data * config.fsdp
    if wanted > len(devices):
        raise ValueError(
            f"mesh.data {data} x mesh.fsdp {config.fsdp} = {wanted} devices, but there are {len(devices)}:"
            " set mesh.data to -1 to use what there is"
        )
    if wanted < len(devices) and jax.process_count() > 1:
        raise ValueError(f"{wanted} of {len(devices)} devices asked for by {jax.process_count()} processes: use all")
    # Auto axes: the compiler places every intermediate. (jax's default, Explicit, rejects the embedding look-up.)
    return jax.make_mesh((data, config.fsdp), AXES, axis_types=(AxisType.Auto,) * 2, devices=devices[:wanted])


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows (the first axis) split over all devices."""
    return NamedSharding(mesh, PartitionSpec(AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def parameter_sharding(mesh: Mesh, shape: Sequence[int]) -> NamedSharding:
    """Where a parameter (or anything of its shape, such as its moments) lies: its longest axis split over "fsdp".

    Vectors and scalars, and matrices with no axis that "fsdp" divides, are whole on every device.
    """
    parts = mesh.shape["fsdp"]
    divisible = [axis for axis, size in enumerate(shape) if size % parts == 0]
    if parts == 1 or len(shape) < 2 or not divisible:
        return replicated(mesh)
    longest = max(divisible, key=lambda axis: shape[axis])
    return NamedSharding(mesh, PartitionSpec(*(None,) * longest, "fsdp"))


def put_batch(mesh: Mesh, rows: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """This process's rows of a batch -> the global batch, its rows split over all devices.

    Every process calls this with its own, equally many rows; together, in process order, they are the global batch.
    All arrays of a batch must have a multiple of the same number of rows, so that a query and its passages meet on
    the same device.

    Raises ValueError when the rows cannot be split evenly over the devices.
    """
    sharding = batch_sharding(mesh)
    for name, array in rows.items():
        total = array.shape[0] * jax.process_count()
        if total == 0 or total % mesh.size:
            raise ValueError(
                f'batch of {total} rows in "{name}" cannot be split over {mesh.size} devices:'
                f" make the batch size a multiple of {mesh.size}"
            )
    return {name: jax.make_array_from_process_local_data(sharding, array) for name, array in rows.items()}


def _whole_number(name: str, value: str) -> int:
    if not value.isdecimal():
        raise ValueError(f"{name}={value!r} is not a whole number")
    return int(value)


def _divisors(devices: Sequence[Any]) -> str:
    number = len(devices)
    return "use one of " + ", ".join(str(d) for d in range(1, number + 1) if number % d == 0)
