"""The devices as a mesh: building it, and how arrays are split over it.

The mesh has two axes, "data" and "fsdp". A batch's rows are split over both. Matrices of parameters (and their Adam
moments) are split over "fsdp" only; with `fsdp` 1 every device has all of them. No other file writes a PartitionSpec:
the rest of the code asks for a sharding by name.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from pydantic import BaseModel, ConfigDict, Field

AXES = ("data", "fsdp")


class MeshConfig(BaseModel):
    """How the devices are arranged: data x fsdp of them are used, and a batch's rows are split over all of these."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: int = Field(default=-1, ge=-1)
    """How many groups of `fsdp` devices; each group has its own copy of the parameters. -1 = as many as there are."""
    fsdp: int = Field(default=1, ge=1)
    """Devices per group, which share one copy of the parameters and of Adam's moments; 1 = one copy per device."""


def make_mesh(config: MeshConfig, devices: Sequence[Any] | None = None) -> Mesh:
    """The mesh that `config` describes, over `devices` (by default every device of every process).

    Raises ValueError when there are too few devices, when `fsdp` does not divide them, or when a run of several
    processes would leave devices unused (each process must hold a part of every batch).
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
    used = data * config.fsdp
    if used > len(devices):
        raise ValueError(
            f"mesh.data {data} x mesh.fsdp {config.fsdp} = {used} devices, but there are {len(devices)}:"
            " set mesh.data to -1 to use them all"
        )
    if used < len(devices) and jax.process_count() > 1:
        raise ValueError(
            f"mesh.data {data} x mesh.fsdp {config.fsdp} = {used} devices, but the {jax.process_count()} processes have"
            f" {len(devices)}: set mesh.data to -1 (several processes must use all their devices)"
        )
    # In the order of the processes, as `put_batch` lays out rows. `jax.make_mesh` would order TPUs by their network.
    ordered = sorted(devices[:used], key=lambda device: (device.process_index, device.id))
    # Auto axes let the compiler place intermediates. jax's default, Explicit, rejects the embedding look-up.
    return Mesh(np.asarray(ordered).reshape(data, config.fsdp), AXES, axis_types=(AxisType.Auto,) * 2)


def check_rows_divide(name: str, rows: int, devices: int, what: str = "the batch size") -> None:
    """Raises ValueError when `rows` cannot be split evenly over `devices`.

    `name` begins the message, and `what` is to be changed.
    """
    if rows == 0 or rows % devices:
        raise ValueError(f"{name} cannot be split over {devices} devices: make {what} a multiple of {devices}")


def seen_by_kernels(mesh: Mesh) -> AbstractContextManager[Any]:
    """A context in which traced code finds `mesh`: kernels that the compiler cannot split split their rows by it."""
    return jax.sharding.use_abstract_mesh(mesh.abstract_mesh)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows (the first axis) split over all devices."""
    return NamedSharding(mesh, PartitionSpec(AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def parameter_sharding(mesh: Mesh, shape: Sequence[int]) -> NamedSharding:
    """The sharding of a parameter, or of anything of its shape, such as its moments: the longest axis that "fsdp"
    divides is split over "fsdp".

    Scalars, vectors and matrices without such an axis are replicated.
    """
    parts = mesh.shape["fsdp"]
    divisible = [axis for axis, size in enumerate(shape) if size % parts == 0]
    if parts == 1 or len(shape) < 2 or not divisible:
        return replicated(mesh)
    longest = max(divisible, key=lambda axis: shape[axis])
    return NamedSharding(mesh, PartitionSpec(*(None,) * longest, "fsdp"))


def rows_sharding(mesh: Mesh, axes: int) -> NamedSharding:
    """The sharding of a batch's array with so many axes: its rows, which `put_batch` defines, over all devices."""
    return NamedSharding(mesh, PartitionSpec(*(None,) * max(axes - 2, 0), AXES))


def put_batch(mesh: Mesh, rows: Any) -> Any:
    """The global batch, its rows split over all devices, from each process's own rows.

    `rows` is a tree of numpy arrays, and what is returned is the same tree of jax arrays. A row is an element of an
    array with one axis, and of others it lies along the axis before the last: [chunks, rows, length]. Every process
    calls this with the same number of rows; in process order, they make up the global batch.

    Raises ValueError when the rows of an array cannot be split evenly over the devices.
    """

    def put(path: Any, array: np.ndarray) -> jax.Array:
        total = array.shape[max(array.ndim - 2, 0)] * jax.process_count()
        check_rows_divide(f"batch of {total} rows in {jax.tree_util.keystr(path)}", total, mesh.size)
        return jax.make_array_from_process_local_data(rows_sharding(mesh, array.ndim), array)

    return jax.tree_util.tree_map_with_path(put, rows)


def _divisors(devices: Sequence[Any]) -> str:
    number = len(devices)
    return "use one of " + ", ".join(str(d) for d in range(1, number + 1) if number % d == 0)
