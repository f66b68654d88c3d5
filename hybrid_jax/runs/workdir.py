"""A run's folder: what is in it, and whether a run may be started or resumed there.

config.yaml      the resolved config, written first           tokenizer/        the run's tokenizer
run.json         the data; every start (`note_start`)         checkpoints/      one folder per step
                                                              (.trainer names the start that writes there)
metrics.jsonl    a line per step                              tensorboard/      the same numbers
skipped.json     batches that are left out (skips.py)
eval/            reports, and the curve of a watch            best/             the best checkpoint of a watch
lock/            who is training here (lock.py)
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from hybrid_jax.disk.files import atomic_files, sha256_of
from hybrid_jax.disk.yaml_text import parse_yaml
from hybrid_jax.runs.lines import read_line

LOCK = "lock"
MARK = ".trainer"
"""A file in the folder of checkpoints, which names the start of the run that writes there."""
_SEEN_AFTER = 60
"""Seconds. Buckets that are mounted as folders look again after a minute."""
CONFIG, RECORD, SKIPPED = "config.yaml", "run.json", "skipped.json"
_CHANGED = "changed"
_SEAL = "sha256"
"""The field of run.json with the hash of all others."""


class WorkdirError(ValueError):
    """The folder cannot be used for this run; nothing in it was changed."""


def claim(folder: Path, config_text: str, differences: Callable[[str], list[str]]) -> bool:
    """Makes `folder` the folder of the run with this config. Returns False when it already was, so the run resumes.

    `differences(text)` lists how an earlier config.yaml differs from this run's. A run that stopped before its first
    step (because of a mistake in its config, say) may be overwritten.

    Raises WorkdirError when the folder has a run with another config, or files but no run.
    """
    path = folder / CONFIG
    if path.exists() and has_begun(folder):
        try:
            changed_fields = differences(path.read_text(encoding="utf-8"))
        except WorkdirError:
            raise
        except ValueError as error:
            raise WorkdirError(f"{folder}: {error}; correct that file, or use another --workdir") from None
        if changed_fields:
            raise WorkdirError(
                f"{folder} holds a run with another config ({'; '.join(changed_fields)}): "
                f"use the same config to resume it, or another --workdir"
            )
        return False
    if not path.exists() and folder.exists() and (not folder.is_dir() or {p.name for p in folder.iterdir()} - {LOCK}):
        raise WorkdirError(f"{folder} is not empty and not a run (it has no config.yaml): choose another --workdir")
    (folder / RECORD).unlink(missing_ok=True)
    atomic_files(folder, {path.name: config_text.encode()})
    return True


def is_there(folder: Path) -> bool:
    """Whether this process sees run.json, which process 0 has written. Waits a minute for a file system that lags."""
    for _ in range(_SEEN_AFTER):
        if (folder / RECORD).exists():
            return True
        time.sleep(1)
    return False


def check_not_lost(folder: Path, every: int) -> None:
    """Raises WorkdirError when a run that has no checkpoint must have had one, saved every `every` steps or oftener.

    That is so where its log has steps but its folder of checkpoints is gone or empty (the place of a disk that is not
    mounted), as that and MARK in it are written before the first step; or where the log goes beyond the second
    checkpoint, which is begun when the first one is complete.
    """
    log, checkpoints = folder / "metrics.jsonl", folder / "checkpoints"
    logged = log.read_bytes().count(b"\n") if log.exists() else 0
    if (logged and not (checkpoints / MARK).exists()) or logged > 2 * every:
        state = "has no checkpoint" if checkpoints.is_dir() else "is gone"
        raise WorkdirError(
            f"{checkpoints} {state}, but {log} has {logged} steps: is a disk not mounted? "
            f"Restore it to resume, or remove {log} to begin again at step 0"
        )


def check_same_sources(folder: Path, sources: dict[str, Any]) -> None:
    """Checks that the run still reads the same data, and that its config.yaml is as it was.

    `sources` are digests by name, such as those of the datasets and the tokenizer. Raises WorkdirError when one
    differs from the first start, or when run.json or config.yaml is damaged.
    """
    if not (folder / RECORD).exists():
        return
    run = read_record(folder)
    if run["data"] != sources:
        names = [name for name in {**sources, **run["data"]} if sources.get(name) != run["data"].get(name)]
        raise WorkdirError(
            f"{folder}: the content of {', '.join(names)} is not what this run began with: "
            f"restore it, or use another --workdir"
        )
    check_files(folder, run, [CONFIG])


def note_start(
    folder: Path, sources: dict[str, Any], provenance: dict[str, Any], changed: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """Adds this start to run.json: its code and machine, and the values, by dotted field, of what it has `changed` in
    config.yaml. The first one adds the data, and each the files' SHA-256.

    These files are config.yaml and those of the tokenizer, by which the run's vectors are computed later.
    """
    run = read_record(folder) if (folder / RECORD).exists() else {"data": sources, "starts": []}
    paths = [folder / CONFIG, *sorted((folder / "tokenizer").glob("*"))]
    files = {str(path.relative_to(folder)): sha256_of(path) for path in paths}
    start = {**provenance, **({_CHANGED: dict(changed)} if changed else {})}
    content = {"data": run["data"], "files": files, "starts": [*run["starts"], start]}
    text = json.dumps({**content, _SEAL: _digest(content)}, indent=2, ensure_ascii=False)
    atomic_files(folder, {RECORD: text.encode()})


def read_starts(folder: Path) -> list[dict[str, Any]]:
    """Code and machine of every start of the run. Raises WorkdirError when run.json is damaged; [] if there is none."""
    return read_record(folder)["starts"] if (folder / RECORD).exists() else []


def values_of_starts(folder: Path, begun: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The values of the config by dotted field, with those that each start has changed; `begun` are those of
    config.yaml. At least one start, even if run.json is gone. Raises WorkdirError as `read_starts` does."""
    return [{**begun, **start.get(_CHANGED, {})} for start in read_starts(folder) or [{}]]


def read_record(folder: Path) -> dict[str, Any]:
    """The content of run.json. Raises WorkdirError when it is missing or damaged."""
    path = folder / RECORD
    fix = "restore it, or remove it if the data are still those of the run's start"
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WorkdirError(f"{path} is damaged ({error}): {fix}") from None
    if not (isinstance(run, dict) and isinstance(run.get("data"), dict) and isinstance(run.get("starts"), list)):
        raise WorkdirError(f"{path} is damaged (it has no data and starts): {fix}")
    if run.pop(_SEAL, None) != _digest(run):
        raise WorkdirError(f"{path} is damaged (it is not what was written): {fix}")
    return run


def check_files(folder: Path, run: dict[str, Any], names: Iterable[str] | None = None) -> None:
    """Compares files of the folder with what run.json, as `read_record` gives it, says of them; None: all of these.

    Raises WorkdirError at the first file that is not as it was.
    """
    files = run["files"]
    for name in files if names is None else names:
        path = folder / name
        if not path.is_file() or sha256_of(path) != files[name]:
            raise WorkdirError(f"{path} is damaged (it is not what the run wrote): restore it")


def _digest(run: dict[str, Any]) -> str:
    return sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()


def read_log(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The lines of a metrics.jsonl, as text and as records, without a last one that a kill has cut short.

    Raises WorkdirError at any other line that is not a step's record. Nothing if there is no file.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode()
                record = read_line(text)
            except (ValueError, RecursionError):
                text, record = "", {}
            if text:
                yield text, record
            elif line.endswith(b"\n") or file.read(1):
                raise WorkdirError(
                    f"{path}, line {number}: damaged, not a step's record as written: restore the file, or remove this "
                    f"line to go on without its numbers"
                )


def begun_with(folder: Path, *names: str, otherwise: Any) -> Any:
    """The value that the config.yaml of a run that has begun in `folder` has at nested `names`.

    `otherwise`, where none has begun (a config.yaml alone is of a start that failed), and where the file is damaged.
    """
    if not has_begun(folder):
        return otherwise
    try:
        value = parse_yaml((folder / CONFIG).read_text(encoding="utf-8"))
        for name in names:
            value = value[name]
    except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError):  # `claim` says what is wrong
        return otherwise
    return value


def has_begun(folder: Path) -> bool:
    """Whether a run has logged a step, written a checkpoint or left out batches here."""
    log, checkpoints = folder / "metrics.jsonl", folder / "checkpoints"
    if (folder / SKIPPED).exists():
        return True
    return (log.exists() and log.stat().st_size > 0) or (checkpoints.is_dir() and any(checkpoints.glob("[!.]*")))
