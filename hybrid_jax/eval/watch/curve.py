"""A watched run's curve: RUN/eval/curve.jsonl, one `CurvePoint` per line, and which of its steps is best.

A figure is named by its path in a point's `figures`: "xquad_r.map.multilingual", "xquad_r.rank_distance",
"miracl.ndcg@10".
"""

import difflib
import errno
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from hybrid_jax.eval.evaluation import Evaluation
from hybrid_jax.eval.measures.catalogue import BITEXT, FULL_RANKING, HEADLINE, METRICS, POOLS, SETTINGS, Metric
from hybrid_jax.eval.report.schema import CurvePoint, CurveSettings, Figures
from hybrid_jax.eval.tasks import RetrievalTask, SearchTask, Task

BITEXT_FIGURES = {name: BITEXT[name] for name in ("accuracy", "margin_f1")}
"""The figures of mined bitext that a curve has."""


class CurveError(ValueError):
    """A curve that cannot be read or continued; the message names the file and says what to do."""


class Curve:
    """The curve that one watch appends to; a context manager that locks its file.

    The remains of a line that a kill cut off are dropped. Raises CurveError for a file that is damaged, has other
    settings, or is in use.
    """

    def __init__(self, path: Path, settings: CurveSettings):
        self._path, self.settings = path, settings
        self.points: list[CurvePoint] = []

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
    def best(self) -> CurvePoint | None:
        """As `best` of its points."""
        return best(self.points)

    def append(self, point: CurvePoint) -> None:
        """Adds the point, which is on the disk when this returns; a kill leaves a whole line or one that is dropped."""
        line = (point.model_dump_json() + "\n").encode()
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, f"cannot write {self._path}: {os.strerror(errno.ENOSPC)}; make room")
        os.fsync(self._file.fileno())
        self.points.append(point)


def read(path: Path) -> list[CurvePoint]:
    """The points in the file's order, also while a watch is writing it; empty when there is no file."""
    return list(_parse(path.read_bytes(), path)) if path.exists() else []


def best(points: Sequence[CurvePoint]) -> CurvePoint | None:
    """The point with the best value, the earliest of equal ones; None for an empty curve."""
    if not points:
        return None
    sign = -1 if metric_of(points[0].settings.metric).better == "lower" else 1
    return max(points, key=lambda point: (sign * point.value, -point.step))


def metric_of(figure: str) -> Metric:
    """The metric of a figure's name: that of "xquad_r.map.multilingual" is "map"."""
    parts = figure.rsplit(".", 2)
    return METRICS[parts[-2] if parts[-1] in SETTINGS else parts[-1]]


def figures(evaluation: Evaluation) -> Figures:
    """The headline means of every task, searched pool and mined bitext."""
    by_task: Figures = {key: {name: result[name] for name in HEADLINE} for key, result in evaluation.tasks.items()}
    by_task |= {key: {name: result[name] for name in POOLS} for key, result in evaluation.searches.items()}
    by_task |= {key: {name: result[name] for name in BITEXT_FIGURES} for key, result in evaluation.bitext.items()}
    return by_task


def names(tasks_by_name: Mapping[str, Sequence[Task]]) -> list[str]:
    """All figures that an evaluation on these tasks has, the main one of the first task first."""
    figure_names: list[str] = []
    for name, tasks in tasks_by_name.items():
        for task in tasks:
            if isinstance(task, RetrievalTask):
                keys = [task.name, *(f"{task.name}:{variant}" for variant in task.candidate_texts[1:])]
                means = [f"{metric}.{setting}" for metric in FULL_RANKING for setting in reversed(SETTINGS)]
                distances = [metric for metric in HEADLINE if metric not in FULL_RANKING]
                figure_names += [f"{key}.{figure}" for key in keys for figure in (*means, *distances)]
            else:
                metrics = POOLS if isinstance(task, SearchTask) else BITEXT_FIGURES
                figure_names += [f"{name}.{metric}" for metric in metrics]
    return list(dict.fromkeys(figure_names))


def check_name(name: str, figure_names: Sequence[str]) -> str:
    """Returns `name` if it is one of `figure_names`. Raises CurveError, with the names most like it, if it is not."""
    if name not in figure_names:
        near = ", ".join(difflib.get_close_matches(name.lower(), figure_names, n=3, cutoff=0))
        raise CurveError(f"--metric {name}: the tasks have no such figure: choose another, such as {near}")
    return name


def by_name(figures: Figures) -> dict[str, float | None]:
    """{"xquad_r.map.multilingual": its value}."""
    flat: dict[str, float | None] = {}
    for task, values in figures.items():
        for name, value in values.items():
            if isinstance(value, dict):
                flat |= {f"{task}.{name}.{setting}": mean for setting, mean in value.items()}
            else:
                flat[f"{task}.{name}"] = value
    return flat


def _parse(content: bytes, path: Path) -> Iterator[CurvePoint]:
    """The points of the lines that end; a last line without an end was cut off."""
    for number, line in enumerate(content.split(b"\n")[:-1], 1):
        try:
            yield CurvePoint.model_validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "the line"
            raise CurveError(
                f"{path}:{number}: not a point of this version ({place}: {first['msg']}): "
                f"remove the line, or move the file away to start again"
            ) from None


def _check(written: CurveSettings, requested: CurveSettings, path: Path) -> None:
    """Raises CurveError where points with the requested settings cannot be compared with the written ones."""
    restart = f"or move {path} away to start again"
    if written.run_sha256 != requested.run_sha256:
        raise CurveError(f"{path} is of a run with another config.yaml: watch that run, {restart}")
    if written.data_sha256 != requested.data_sha256 and written.tasks == requested.tasks:
        raise CurveError(f"{path} was measured on other files of {', '.join(written.tasks)}: use those, {restart}")
    if written != requested:
        made = [f"{', '.join(each.tasks)} by {each.metric}" for each in (written, requested)]
        raise CurveError(f"{path} is of {made[0]}, not of {made[1]}: give the same --tasks and --metric, {restart}")


def _lock(file: BinaryIO, path: Path) -> None:
    """Locks the file until this process ends. Raises CurveError when another process holds the lock."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CurveError(f"{path} is being written by another watch: stop that one first") from None
    except OSError as error:  # a shared file system without locks cannot keep two watches apart
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
