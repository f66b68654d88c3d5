"""The mesh: its sizes, what it refuses, and where rows and parameters come to lie."""

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from pydantic import ValidationError

from hybrid_jax.runtime.mesh import (
    MeshConfig,
    make_mesh,
    parameter_sharding,
    put_batch,
    replicated,
)


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (MeshConfig(), (8, 1)),
        (MeshConfig(fsdp=2), (4, 2)),
        (MeshConfig(data=2), (2, 1)),
        (MeshConfig(data=1, fsdp=4), (1, 4)),
    ],
)
def test_mesh_has_the_asked_shape(config: MeshConfig, shape: tuple[int, int]):
    assert make_mesh(config).devices.shape == shape


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (MeshConfig(data=16), "mesh.data 16 x mesh.fsdp 1 = 16 devices, but there are 8"),
        (MeshConfig(data=4, fsdp=4), "= 16 devices, but there are 8"),
        (MeshConfig(fsdp=3), "mesh.fsdp 3 does not divide the 8 devices: use one of 1, 2, 4, 8"),
        (MeshConfig(data=0), "mesh.data is 0"),
    ],
)
def test_impossible_meshes_are_refused(config: MeshConfig, message: str):
    with pytest.raises(ValueError, match=message):
        make_mesh(config)


class Chip:
    """What a mesh knows of a device of another machine."""

    def __init__(self, process_index: int, id: int):
        self.process_index, self.id = process_index, id


def test_devices_are_in_the_order_of_their_processes():
    """jax orders a slice of TPUs by its network, so that a process's rows would not be its part of the batch."""
    mesh = make_mesh(MeshConfig(fsdp=2), jax.devices()[::-1])
    assert [device.id for device in mesh.devices.flat] == sorted(device.id for device in jax.devices())
    # The ring of a v5e slice of 2 hosts, with chips of host 0 at its ends.
    chips = [Chip(host, number) for number, host in enumerate((0, 0, 1, 1, 1, 1, 0, 0))]
    ordered = make_mesh(MeshConfig(), chips).devices.flat
    assert [chip.process_index for chip in ordered] == [0] * 4 + [1] * 4


def test_misspelt_field_is_refused():
    with pytest.raises(ValidationError, match="fdsp"):
        MeshConfig.model_validate({"fdsp": 2})


def test_rows_are_split_over_both_axes_in_order():
    mesh = make_mesh(MeshConfig(data=2, fsdp=2))
    rows = {"tokens": np.arange(48, dtype=np.int32).reshape(2, 8, 3), "group": np.arange(8, dtype=np.int32)}
    batch = put_batch(mesh, rows)
    for name, shape in {"tokens": (2, 2, 3), "group": (2,)}.items():
        shards = batch[name].addressable_shards
        assert [shard.data.shape for shard in shards] == [shape] * 4
        together = np.concatenate([shard.data for shard in shards], axis=len(shape) // 2)
        np.testing.assert_array_equal(together, rows[name])


@pytest.mark.parametrize("rows", [0, 12])
def test_rows_that_do_not_fit_the_devices_are_refused(rows: int):
    message = rf"batch of {rows} rows in \['tokens'\] cannot be split over 8 devices: make the batch size a multiple"
    with pytest.raises(ValueError, match=message):
        put_batch(make_mesh(MeshConfig()), {"tokens": np.zeros((1, rows, 3), np.int32)})


def test_parameters_are_split_along_their_longest_axis_over_fsdp_only():
    mesh = make_mesh(MeshConfig(fsdp=4))
    assert parameter_sharding(mesh, (100, 16)).spec == PartitionSpec("fsdp")
    assert parameter_sharding(mesh, (16, 100)).spec == PartitionSpec(None, "fsdp")
    assert parameter_sharding(mesh, (101, 16)).spec == PartitionSpec(None, "fsdp")  # 4 does not divide 101
    for whole in [(101, 17), (16,), ()]:
        assert parameter_sharding(mesh, whole) == replicated(mesh)
    assert parameter_sharding(make_mesh(MeshConfig()), (100, 16)) == replicated(make_mesh(MeshConfig()))
