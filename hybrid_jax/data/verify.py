"""Prepared folders of the cache: compared with their manifests before they are used, and made again if damaged."""

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hybrid_jax.disk.manifest import damage


def is_ready(folder: Path, report: Callable[[str], None]) -> bool:
    """Whether the folder is there and all its files are as they were written.

    One that is damaged, or was prepared by a version that wrote no manifest, is named to `report` and removed, so that
    the caller makes it again. Processes that have it open keep what they see.
    """
    if not folder.is_dir():
        return False
    problem = damage(folder)
    if problem is None:
        return True
    report(f"{folder} is damaged ({problem}): making it again")
    aside = Path(tempfile.mkdtemp(prefix=f"{folder.name}.damaged-", dir=folder.parent))
    with suppress(FileNotFoundError):  # another process was first
        folder.rename(aside / folder.name)
    shutil.rmtree(aside, ignore_errors=True)
    return False
