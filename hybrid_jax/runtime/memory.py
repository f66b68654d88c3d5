"""How much memory a device has, how much of it a tree of arrays takes, and sizes as text."""

import math
import os
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh


def device_memory(mesh: Mesh) -> int | None:
    """Bytes of a device: of an accelerator what it allows (None where it does not say), of a CPU its share of what this
    process may use, as if it were the only one on its machine."""
    device = mesh.local_devices[0]
    if device.platform != "cpu":
        return (device.memory_stats() or {}).get("bytes_limit")
    return process_memory() // len(mesh.local_devices)


def process_memory(membership: Path = Path("/proc/self/cgroup"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that this process may use: the machine's, or less where a control group limits it, as that of a container
    or of a Slurm job does (cgroup v2)."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    try:
        lines = membership.read_text().splitlines()
        own = next(groups / line.removeprefix("0::/") for line in lines if line.startswith("0::/"))
        for group in (own, *own.parents):
            if group.is_relative_to(groups) and (group / "memory.max").exists():
                text = (group / "memory.max").read_text().strip()
                limits += [] if text == "max" else [int(text)]
    except (OSError, ValueError, StopIteration):  # no Linux, or other control groups
        pass
    return min(limits)


def bytes_on_each(tree: Any) -> int:
    """Bytes of a tree of `jax.ShapeDtypeStruct`s with shardings on one device."""
    leaves = jax.tree.leaves(tree)
    shards = [leaf.sharding.shard_shape(leaf.shape) for leaf in leaves]
    return sum(leaf.dtype.itemsize * math.prod(shard) for leaf, shard in zip(leaves, shards, strict=True))


def size(number: int) -> str:
    """Bytes as text: "12.0 KiB", "3.4 MiB", "1.25 GiB"."""
    unit, name = next((u, n) for u, n in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")) if number >= u or n == "KiB")
    return f"{number / unit:.{2 if name == 'GiB' else 1}f} {name}"
