"""How a run's figures go over its steps: RUN/eval/curve.jsonl, a line per evaluated step, and which of them is best.

Knows: the file, names of figures, which way is better. Does not know: models, checkpoints, how a figure was made.

A line: {"step", "pairs", "written", "seconds", "value", "figures": {task: {"map": {"monolingual", ...}, ...,
"rank_distance", ...}}, "settings"}. A figure's name is its way in "figures": "xquad_r.map.multilingual",
"xquad_r.rank_distance", "miracl.ndcg@10".
"""

import difflib
import errno
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel, ConfigDict, ValidationError

from hybrid_jax.eval.evaluation import Evaluation
from hybrid_jax.eval.measures.catalogue import FULL_RANKING, HEADLINE, SETTINGS
from hybrid_jax.eval.tasks import RetrievalTask, SearchTask, Task

Figures = dict[str, dict[str, dict[str, float | None] | float | None]]
"""{task: {metric: its mean, or {setting: macro mean}}}; None where the task has no such setting."""

LOWER_IS_BETTER = ("rank_distance", "rank_distance_median")
SEARCHED = ("ndcg@10", "recall@100", "map@100", "mrr@10")
"""What the curve has of a searched task."""
MINED = ("accuracy", "margin_f1")
"""What it has of mined bitext."""


class CurveError(ValueError):
    """A curve that cannot be read or gone on with; the message says which file and what to do."""


class Settings(BaseModel):
    """What must be equal for the points of a curve to be comparable."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    """The figure that names the best step."""
    tasks: tuple[str, ...]
    """As asked for, sorted."""
    data_sha256: str
    """Of the tasks' files."""
    run_sha256: str
    """Of the run's config.yaml."""


class Point(BaseModel):
    """One evaluated step."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int
    """Batches trained on."""
    pairs: int
    """Pairs trained on."""
    written: str
    """When the checkpoint was finished, ISO 8601 in UTC."""
    seconds: float
    """How long its evaluation took."""
    value: float
    """The settings' metric."""
    figures: Figures
    """The headline means of every task."""
    settings: Settings
    """The same on every line, so that each stands for itself."""


class Curve:
    """The curve of one watch, which no other may write at the same time. A context manager.

    What a kill within a line left is dropped. Raises CurveError when the file is damaged, of other settings or in use.
    """

    def __init__(self, path: Path, settings: Settings):
        self._path, self.settings = path, settings
        self.points: list[Point] = []

    def __enter__(self) -> "Curve":
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("a+b", buffering=0)
        try:
            _lock(self._file, self._path)
            self._file.seek(0)
            content = self._file.read()
            self._file.truncate(content.rfind(b"\n") + 1)
            self.points = list(_parse(content, self._path))
            for point in self.points:
                _check(point.settings, self.settings, self._path)
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    @property
    def best(self) -> Point | None:
        """The point whose metric is best; of equal ones the earliest step."""
        return best(self.points)

    def append(self, point: Point) -> None:
        """On the disk when this returns: as a whole line, or as one that the next start drops."""
        line = (point.model_dump_json() + "\n").encode()
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, f"cannot write {self._path}: {os.strerror(errno.ENOSPC)}; make room")
        os.fsync(self._file.fileno())
        self.points.append(point)


def read(path: Path) -> list[Point]:
    """The points in the file's order, also while a watch is writing it; none when there is no file."""
    return list(_parse(path.read_bytes(), path)) if path.exists() else []


def best(points: Sequence[Point]) -> Point | None:
    """The point with the best value; of equal ones the earliest step."""
    if not points:
        return None
    sign = -1 if lower_is_better(points[0].settings.metric) else 1
    return max(points, key=lambda point: (sign * point.value, -point.step))


def lower_is_better(metric: str) -> bool:
    """Whether a smaller value of the figure of this name is the better one."""
    return metric.rpartition(".")[2] in LOWER_IS_BETTER


def figures(evaluation: Evaluation) -> Figures:
    """The headline means of what `runner.run` returned, with "searches" and "bitext" where there are some."""
    parts = {"tasks": HEADLINE, "searches": SEARCHED, "bitext": MINED}
    return {
        task: {name: result[name] for name in headline}
        for part, headline in parts.items()
        for task, result in getattr(evaluation, part).items()
    }


def names(named: Mapping[str, Sequence[Task]]) -> list[str]:
    """All names that the figures of these tasks can have, the main one of the first task first."""
    found: list[str] = []
    for asked, made in named.items():
        for task in made:
            if isinstance(task, RetrievalTask):
                keys = [task.name, *(f"{task.name}:{variant}" for variant in task.candidate_texts[1:])]
                means = [f"{metric}.{setting}" for metric in FULL_RANKING for setting in reversed(SETTINGS)]
                found += [f"{key}.{name}" for key in keys for name in (*means, *LOWER_IS_BETTER)]
            else:
                found += [f"{asked}.{name}" for name in (SEARCHED if isinstance(task, SearchTask) else MINED)]
    return list(dict.fromkeys(found))


def check_name(name: str, known: Sequence[str]) -> str:
    """The name of a figure, if it is among the known ones; else raises CurveError with those that are most like it."""
    if name not in known:
        near = ", ".join(difflib.get_close_matches(name.lower(), known, n=3, cutoff=0))
        raise CurveError(f"--metric {name}: the tasks have no such figure: choose another, such as {near}")
    return name


def by_name(figures: Figures) -> dict[str, float | None]:
    """{"xquad_r.map.multilingual": its value}."""
    found: dict[str, float | None] = {}
    for task, values in figures.items():
        for name, value in values.items():
            if isinstance(value, dict):
                found |= {f"{task}.{name}.{setting}": mean for setting, mean in value.items()}
            else:
                found[f"{task}.{name}"] = value
    return found


def _parse(content: bytes, path: Path) -> Iterator[Point]:
    """The points of the whole lines."""
    for number, line in enumerate(content.split(b"\n")[:-1], 1):
        try:
            yield Point.model_validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "the line"
            raise CurveError(
                f"{path}:{number}: not a point of this version ({place}: {first['msg']}): "
                f"remove the line, or move the file away to begin anew"
            ) from None


def _check(held: Settings, asked: Settings, path: Path) -> None:
    anew = f"or move {path} away to begin anew"
    if held.run_sha256 != asked.run_sha256:
        raise CurveError(f"{path} is of a run with another config.yaml: watch that one, {anew}")
    if held.data_sha256 != asked.data_sha256 and held.tasks == asked.tasks:
        raise CurveError(f"{path} was measured on other files of {', '.join(held.tasks)}: use those, {anew}")
    if held != asked:
        options = [f"--tasks {','.join(of.tasks)} --metric {of.metric}" for of in (held, asked)]
        raise CurveError(f"{path} was made with {options[0]}, not with {options[1]}: use the same, {anew}")


def _lock(file: BinaryIO, path: Path) -> None:
    """Raises CurveError when another process has it. A kill gives it back."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CurveError(f"{path} is being written by another watch: stop that one first") from None
    except OSError as error:  # a shared file system without locks: then nothing but care keeps two watches apart
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
