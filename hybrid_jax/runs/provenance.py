"""The code and the machine that produced a result: git commit, package versions and devices."""

import importlib.metadata
import platform
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import jax

PACKAGE = Path(__file__).parents[1]
_PACKAGES = ("hybrid_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "tokenizers", "babel")


def provenance() -> dict[str, Any]:
    """The git commit, the versions of Python and the main packages, and the devices, as plain JSON.

    The commit ends in "-dirty" if there are uncommitted changes, and is None outside a git checkout.
    """
    return {
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "processes": jax.process_count(),
    }


def code_and_versions() -> dict[str, str]:
    """What must be the same in all processes of a run: a hash of this package's code, and the packages' versions."""
    code = sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        code.update(f"{path.relative_to(PACKAGE)}\0".encode() + path.read_bytes() + b"\0")
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"the code of hybrid_jax": code.hexdigest()[:16], "python": platform.python_version(), **versions}


def _git_commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        described = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return described.stdout.strip() or None
