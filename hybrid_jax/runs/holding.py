"""Checkpoints that stay when the run deletes its own, by links in another folder."""

import os
import shutil
from pathlib import Path


def hold(folder: Path, step: int, into: Path) -> bool:
    """Links the complete checkpoint of `step` into the folder `into`, where it stays when the run deletes its own.

    Hard links take no disk space until then; files are copied where links are not possible or not permitted. In `into`
    the checkpoint is complete or absent, even if this is killed.

    Returns False when the checkpoint is gone, or is deleted meanwhile.
    """
    source, target, part = folder / str(step), into / str(step), into / f"{step}.part"
    if target.is_dir():
        return True
    shutil.rmtree(part, ignore_errors=True)
    try:
        names = _files(source)
        for name in names:
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            _link(source / name, part / name)
        complete = bool(names) and _files(source) == names  # otherwise the run has begun to delete it
    except FileNotFoundError:
        complete = False
    if complete:
        part.rename(target)
    else:
        shutil.rmtree(part, ignore_errors=True)
    return complete


def drop(folder: Path, step: int) -> None:
    """Removes a checkpoint. It is renamed first, so that a kill cannot leave half a checkpoint under its name."""
    for old in folder.glob("*.old"):  # left by a kill
        shutil.rmtree(old)
    shutil.rmtree((folder / str(step)).rename(folder / f"{step}.old"))


def _files(folder: Path) -> list[Path]:
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copy2(source, target)
