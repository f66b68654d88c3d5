"""A run's folder: whose it is, and whether a run may be started or resumed in it.

    config.yaml      the resolved config, written first          tokenizer/        what the run tokenised with
    run.json         data, code and machine of every start       checkpoints/      one folder per step
    metrics.jsonl    a line per step                              tensorboard/
    eval/            reports, and the curve of a watch            best/             the step that a watch found best

Knows: names of files. Does not know: configs' fields.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


class WorkdirError(ValueError):
    """A folder that cannot be used for this run; nothing in it was changed."""


def claim(folder: Path, config_text: str, differences: Callable[[str], list[str]]) -> bool:
    """Makes `folder` this run's own and returns True, or finds that it is already and returns False.

    `differences(text)` lists how an earlier config.yaml differs in what changes the run. Raises WorkdirError when it
    does, or the folder holds something that is not a run. A run that stopped before its first step (a mistake in the
    config, say) has nothing to lose and gives way.
    """
    path = folder / "config.yaml"
    if path.exists() and _begun(folder):
        try:
            found = differences(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise WorkdirError(f"{folder}: {error}: restore config.yaml, or use another --workdir") from None
        if found:
            raise WorkdirError(
                f"{folder} holds a run with another config ({'; '.join(found)}): "
                f"use the same config to resume it, or another --workdir"
            )
        return False
    if not path.exists() and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise WorkdirError(f"{folder} is not empty and not a run (it has no config.yaml): choose another --workdir")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").unlink(missing_ok=True)
    write_text(path, config_text)
    return True


def check_same_sources(folder: Path, sources: dict[str, Any], provenance: dict[str, Any]) -> None:
    """Notes this start in run.json; raises WorkdirError when the sources are not those of the first start."""
    path = folder / "run.json"
    run: dict[str, Any] = {"data": sources, "starts": []}
    if path.exists():
        try:
            run = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise WorkdirError(f"{path} is damaged ({error}): restore it, or use another --workdir") from None
    if run["data"] != sources:
        names = [name for name in {**sources, **run["data"]} if sources.get(name) != run["data"].get(name)]
        raise WorkdirError(
            f"{folder}: the content of {', '.join(names)} is not what this run began with: "
            f"restore it, or use another --workdir"
        )
    run["starts"].append(provenance)
    write_text(path, json.dumps(run, indent=2, ensure_ascii=False))


def write_text(path: Path, text: str) -> None:
    """Writes the whole file or nothing."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _begun(folder: Path) -> bool:
    log, checkpoints = folder / "metrics.jsonl", folder / "checkpoints"
    return (log.exists() and log.stat().st_size > 0) or (checkpoints.is_dir() and any(checkpoints.iterdir()))
