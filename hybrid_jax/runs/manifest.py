"""A checkpoint's manifest.json: written when all processes have written their files and before the checkpoint gets its
name, and compared with them by all processes together.

Two files are not in it, since Orbax writes them afterwards, the time of the commit being in them: neither holds a part
of the state.
"""

from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from hybrid_jax.disk.manifest import NAME, in_threads, read_manifest, unchanged

WRITTEN_AT_COMMIT = {"_CHECKPOINT_METADATA", "commit_success.txt"}


def find_damage(folder: Path) -> str | None:
    """What is wrong with the first file that is not as it was saved, or with the manifest; None if all is well.

    Several processes read a share of the files each, and all get the same answer: all of them must call this.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        missing = not (folder / NAME).exists()
        return _first_of_all([f"it has no {NAME}" if missing else f"{NAME} is damaged"], [True])
    names = list(manifest.files)
    own = names[jax.process_index() :: jax.process_count()]
    good = dict(zip(own, in_threads(lambda name: unchanged(folder / name, manifest.files[name]), own), strict=True))
    wrong = [not good.get(name, True) for name in names]
    return _first_of_all([f"{name} is not what was saved" for name in names], wrong)


def _first_of_all(problems: list[str], present: list[bool]) -> str | None:
    """The first problem that is present in any process."""
    first = present.index(True) if any(present) else len(problems)
    if jax.process_count() > 1:
        first = int(np.min(multihost_utils.process_allgather(np.int32(first))))
    return problems[first] if first < len(problems) else None
