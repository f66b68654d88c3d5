"""How much memory a process may use."""

import os
from pathlib import Path

import pytest

from hybrid_jax.runtime.memory import process_memory

MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("membership", "limits", "memory"),
    [
        ("0::/\n", {}, MACHINE),  # not in a container, or in one that has a namespace of its own
        ("0::/\n", {".": "2147483648\n"}, 2**31),
        ("0::/slurm/job_7\n", {"slurm/job_7": "max\n", "slurm": "1073741824\n", ".": "max\n"}, 2**30),
        ("0::/slurm/job_7\n", {"slurm/job_7": "4096\n", "slurm": "8192\n"}, 4096),
        ("0::/a\n", {"a": f"{MACHINE * 2}\n"}, MACHINE),
        ("12:memory:/a\n0::/b\n", {"a": "4096\n", "b": "8192\n"}, 8192),
        ("0::/gone\n", {"other": "4096\n"}, MACHINE),
        ("12:memory:/a\n", {"a": "4096\n"}, MACHINE),  # cgroup v1
        ("0::/a\n", {"a": "many\n"}, MACHINE),
    ],
)
def test_the_least_limit_of_the_groups_of_a_process_counts(
    membership: str, limits: dict[str, str], memory: int, tmp_path: Path
):
    (tmp_path / "cgroup").write_text(membership)
    groups = tmp_path / "groups"
    for group, limit in limits.items():
        (groups / group).mkdir(parents=True, exist_ok=True)
        (groups / group / "memory.max").write_text(limit)
    assert process_memory(tmp_path / "cgroup", groups) == memory


def test_elsewhere_than_on_linux_it_is_the_machine_s(tmp_path: Path):
    assert process_memory(tmp_path / "none", tmp_path) == MACHINE
