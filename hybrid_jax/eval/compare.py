"""Which of several evaluated systems is better: python -m hybrid_jax.eval compare A B [C ...]

Knows: the per-query files of evaluations, when two of them may be compared, and what makes a verdict. Does not know:
models, how a value came about (`per_query.py`), how intervals and p-values are computed (`stats.py`).

A verdict is "better" or "worse" where the Holm-corrected p is below 0.05 *and* the 95 % interval of the difference lies
on one side of zero; otherwise "no evidence", which is not "equal": the interval says how large a difference could be.
Everything that one command prints is one family for Holm's correction, so asking for less (--tasks, --metrics) proves
more. What may be asked must be decided before looking.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_jax.eval.measures import per_query, stats
from hybrid_jax.eval.measures.catalogue import BIAS, RANK_DISTANCE, SETTINGS, Setting
from hybrid_jax.eval.report.rows import LABELS, SHORT

SCHEMA_VERSION = 1
SWAPS_PER_TEST = 100
LOWER_IS_BETTER = frozenset(name for name, measure in BIAS.items() if measure.better == "lower")
ON_REQUEST = frozenset(BIAS) - {RANK_DISTANCE.name}
"""Left out unless --metrics names them: every verdict that is printed makes the others harder to reach."""
BETTER, WORSE, NO_EVIDENCE = "better", "worse", "no evidence"

DESCRIPTION = f"""Compares evaluated systems query by query: every metric with its 95 % interval, and for every system
after the first a verdict: better, worse or no evidence. A question and its translations are drawn or swapped as one.

A system is the folder of a run or of a report, or the {per_query.FILE_NAME} that an evaluation writes; NAME=A,B,C
groups runs of one configuration with different training seeds, whose spread then counts in intervals and verdicts."""

EXAMPLE = """example, three seeds of each of two recipes, on mAP and rank distance alone:

  python -m hybrid_jax.eval compare mono=runs/mono_s0,runs/mono_s1,runs/mono_s2 \\
      hybrid=runs/hybrid_s0,runs/hybrid_s1,runs/hybrid_s2 --metrics map,rank_distance

The difference is the system minus the first one. p is corrected over all verdicts printed (Holm). With one run each it
comes from a paired randomisation test and speaks of these two checkpoints, not of their recipes; with several, from
Student's t over questions and seeds. Few seeds give wide intervals: train five or more to see small differences."""

Tables = Mapping[str, per_query.Table]
Comparison = dict[str, Any]


def main(arguments: list[str]) -> int:
    """The command: prints the comparison, or one line that says what is wrong. Returns the exit status."""
    parser = argparse.ArgumentParser(
        "python -m hybrid_jax.eval compare",
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "systems", nargs="+", metavar="[NAME=]RUN[,RUN...]", help="the first is what others are held to"
    )
    parser.add_argument("--tasks", help="only these task keys, separated by commas (default: all that the runs share)")
    parser.add_argument(
        "--metrics",
        help="only these metrics, separated by commas (default: all that the runs share but the bias panel, "
        "whose names report.json has)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the comparison for programs too")
    asked = parser.parse_args(arguments)
    try:
        paths = parse_systems(asked.systems)
        systems = {name: [per_query.read(path) for path in group] for name, group in paths.items()}
        result = compare(systems, _split(asked.tasks), _split(asked.metrics))
        result["runs"] = {name: [str(path) for path in group] for name, group in paths.items()}
        if asked.json:
            asked.json.parent.mkdir(parents=True, exist_ok=True)
            asked.json.write_text(json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(text(result))
    return 0


def parse_systems(arguments: Sequence[str]) -> dict[str, list[Path]]:
    """{name: per-query files of its runs}, in the order given. Raises ValueError for fewer than two systems."""
    systems: dict[str, list[Path]] = {}
    for argument in arguments:
        name, equals, listed = argument.partition("=")
        # A path may hold "=" (runs/lr=0.1): a name holds no slash and is not itself the start of what exists.
        if not equals or "/" in name or Path(argument).exists():
            name, listed = "", argument
        paths = [_file(Path(part)) for part in listed.split(",") if part]
        if not paths:
            raise ValueError(f"{argument!r} names no run: give [NAME=]RUN[,RUN...]")
        name = name or _name(Path(listed.split(",")[0]))
        if name in systems:
            raise ValueError(f"two systems are called {name!r}: name them, A={systems[name][0].parent} B={listed}")
        systems[name] = paths
    twice = [
        path for path, count in Counter(p.resolve() for group in systems.values() for p in group).items() if count > 1
    ]
    if twice:
        raise ValueError(f"{twice[0]} is given twice: a run is not another seed of itself, nor a system to hold it to")
    if len(systems) < 2:
        raise ValueError(
            f"only one system ({', '.join(systems)}): give at least two (seeds of one are joined by commas)"
        )
    return systems


def compare(
    systems: Mapping[str, Sequence[Tables]], tasks: Sequence[str] | None = None, metrics: Sequence[str] | None = None
) -> Comparison:
    """Every metric of every system, and every system after the first against it, as plain JSON values.

    "schema_version"; "baseline": the first system's name; "systems": {name: number of runs}; "confidence"; "notes";
    "tasks": {key: {"queries", "questions", "rows": [{"metric", "setting",
    "systems": {name: {"estimate", "low", "high"}},
    "against_baseline": {name: {"difference", "low", "high", "p", "p_holm", "verdict"}}}]}}.

    Raises ValueError where the runs share no task, or were not evaluated on the same data and the same queries.
    """
    keys, notes = _common_tasks(systems, tasks)
    baseline, *others = systems
    alone = [name for name, runs in systems.items() if len(runs) == 1]
    if alone:
        notes.append(f"one run of {', '.join(alone)}: taken as that checkpoint; another seed could differ by more")
    tables = {key: {name: [run[key] for run in runs] for name, runs in systems.items()} for key in keys}
    for key in keys:
        _same_evaluation(key, tables[key])
    asked = {key: _shared_rows(key, tables[key], metrics) for key in keys}
    if metrics is None:
        for key in keys:
            held = [{m for s in SETTINGS for m in getattr(run, s)} for runs in tables[key].values() for run in runs]
            left = sorted(set.union(*held) - set.intersection(*held) - ON_REQUEST)
            if left:
                notes.append(f"left out of {key}, since not every run has it: {', '.join(left)}")
    # The least p is 1 / (swaps + 1) times the tests: with many tests it takes more swaps to prove anything.
    tests = len(others) * sum(map(len, asked.values()))
    swaps = max(stats.SWAPS, SWAPS_PER_TEST * tests)
    found: Comparison = {}
    verdicts: list[tuple[str, Comparison]] = []
    for key in keys:
        rows = []
        for metric, setting in asked[key]:
            values = {
                name: np.stack([run.by_question(setting, metric) for run in runs]) for name, runs in tables[key].items()
            }
            against = {}
            for name in others:
                (difference, low, high), p = stats.difference(values[name], values[baseline], swaps=swaps)
                against[name] = {"difference": difference, "low": low, "high": high, "p": p}
                verdicts.append((metric, against[name]))
            intervals = {name: stats.interval(runs)._asdict() for name, runs in values.items()}
            rows.append({"metric": metric, "setting": setting, "systems": intervals, "against_baseline": against})
        first = tables[key][baseline][0]
        found[key] = {"queries": len(first.ids), "questions": len(set(first.ids)), "rows": rows}
    for (metric, row), p in zip(verdicts, stats.holm([row["p"] for _, row in verdicts]), strict=True):
        row |= {"p_holm": p, "verdict": verdict(metric, row["low"], row["high"], p)}
    return {
        "schema_version": SCHEMA_VERSION,
        "baseline": baseline,
        "systems": {name: len(runs) for name, runs in systems.items()},
        "confidence": stats.CONFIDENCE,
        "notes": notes,
        "tasks": found,
    }


def verdict(metric: str, low: float, high: float, p: float) -> str:
    """ "better", "worse" or "no evidence", from the interval of the difference and its corrected p."""
    if p >= stats.LEVEL or low <= 0 <= high:
        return NO_EVIDENCE
    return BETTER if (low > 0) != (metric in LOWER_IS_BETTER) else WORSE


def text(result: Comparison) -> str:
    """The tables and verdicts for a terminal."""
    names = {name: name if runs == 1 else f"{name} ({runs} runs)" for name, runs in result["systems"].items()}
    tests = sum(len(row["against_baseline"]) for task in result["tasks"].values() for row in task["rows"])
    percent = f"{result['confidence']:.0%}".replace("%", " %")
    lines: list[str] = []
    for key, task in result["tasks"].items():
        lines += [f"{key}: {task['queries']:,} queries, {task['questions']:,} questions; {percent} intervals", ""]
        rows = [["metric", "", *names.values()]]
        for row in task["rows"]:
            digits = _digits(row["metric"])
            cells = [_bounds(found["estimate"], found, digits) for found in row["systems"].values()]
            rows.append([*_label(row), *cells])
        lines += [*_aligned(rows), ""]
        for name in list(names)[1:]:
            lines.append(f"{names[name]} against {names[result['baseline']]}, difference and p (Holm, {tests} tests):")
            rows = []
            for row in task["rows"]:
                found = row["against_baseline"][name]
                bounds = _bounds(found["difference"], found, _digits(row["metric"]), "+")
                p = "p < 0.0001" if found["p_holm"] < 1e-4 else f"p = {found['p_holm']:.4f}"
                rows.append([*_label(row), found["verdict"], bounds, p])
            lines += [*_aligned(rows), ""]
    return "\n".join([*lines, *(f"note: {note}" for note in result["notes"])]).rstrip() + "\n"


def _common_tasks(systems: Mapping[str, Sequence[Tables]], asked: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """The tasks that every run has, in the first one's order, and a note on what is left out."""
    held = {name: [list(run) for run in runs] for name, runs in systems.items()}
    every = list(dict.fromkeys(key for runs in held.values() for run in runs for key in run))
    common = [key for key in every if all(key in run for runs in held.values() for run in runs)]
    if not common:
        listed = "; ".join(f"{name}: {', '.join(run) or 'none'}" for name, runs in held.items() for run in runs)
        raise ValueError(f"the runs share no task ({listed}): evaluate them with the same --tasks")
    unknown = [key for key in asked or () if key not in common]
    if unknown:
        raise ValueError(f"--tasks {unknown[0]!r}: the runs share {', '.join(common)}")
    left = [key for key in every if key not in common]
    if asked is not None or not left:
        return list(dict.fromkeys(asked or common)), []
    return common, [f"left out, since not every run has it: {', '.join(left)}"]


def _same_evaluation(key: str, tables: Mapping[str, Sequence[per_query.Table]]) -> None:
    named = [
        (f"{name}[{at}]" if len(runs) > 1 else name, run)
        for name, runs in tables.items()
        for at, run in enumerate(runs)
    ]
    first_name, first = named[0]
    for name, table in named[1:]:
        both = f"task {key}: {first_name} and {name} were evaluated on different"
        if table.data_sha256 != first.data_sha256:
            files = sorted({*table.data_sha256, *first.data_sha256})
            file = next(file for file in files if table.data_sha256.get(file) != first.data_sha256.get(file))
            hashes = " and ".join(run.data_sha256.get(file, "none")[:12] for run in (first, table))
            raise ValueError(f"{both} data ({file}: sha256 {hashes}): evaluate both on the same files")
        ours, theirs = (list(zip(run.languages, run.ids, strict=True)) for run in (first, table))
        if ours != theirs or table.candidate_languages != first.candidate_languages:
            at = next((at for at, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None)
            what = f"query {at} is {ours[at]} and {theirs[at]}" if at is not None else f"{len(ours)} and {len(theirs)}"
            if ours == theirs:
                what = f"candidates in {first.candidate_languages} and in {table.candidate_languages}"
            raise ValueError(f"{both} queries ({what}): evaluate both with the same version of hybrid_jax")


def _shared_rows(
    key: str, tables: Mapping[str, Sequence[per_query.Table]], asked: Sequence[str] | None
) -> list[tuple[str, Setting]]:
    """(metric, setting) of what every run has; a setting that the task lacks is left out."""
    runs = [run for group in tables.values() for run in group]
    shared = {s: [m for m in getattr(runs[0], s) if all(m in getattr(run, s) for run in runs)] for s in SETTINGS}
    known = list(dict.fromkeys(metric for setting in SETTINGS for metric in shared[setting]))
    unknown = [metric for metric in asked or () if metric not in known]
    if unknown:
        raise ValueError(f"--metrics {unknown[0]!r}: on task {key} the runs share {', '.join(known)}")
    rows: list[tuple[str, Setting]] = [
        (metric, setting)
        for metric in dict.fromkeys(asked or (name for name in known if name not in ON_REQUEST))
        for setting in SETTINGS
        if metric in shared[setting]
    ]
    for metric, setting in rows:
        missing = [np.isnan(getattr(run, setting)[metric]) for run in runs]
        if any((mask != missing[0]).any() for mask in missing):
            where = f"task {key}: {metric} ({setting}) exists for some queries in one run and not in another"
            raise ValueError(f"{where}: evaluate all with the same version of hybrid_jax")
    return [(metric, setting) for metric, setting in rows if not np.isnan(getattr(runs[0], setting)[metric]).all()]


def _file(path: Path) -> Path:
    """The per-query file that a user means by a run's folder, a report's folder, or the file itself."""
    for file in (path, path / per_query.FILE_NAME, path / "eval" / per_query.FILE_NAME):
        if file.is_file():
            return file
    if not path.exists():
        raise ValueError(f"no run {path}: give a run's folder, a report's folder or a {per_query.FILE_NAME}")
    raise ValueError(
        f"{path} holds no {per_query.FILE_NAME}: evaluate it first, python -m hybrid_jax.eval --ckpt {path}"
    )


def _name(path: Path) -> str:
    """What a system is called that was given no name: its folder."""
    return path.parent.resolve().name if path.is_file() else path.resolve().name


def _split(names: str | None) -> list[str] | None:
    return None if names is None else [name.strip() for name in names.split(",") if name.strip()] or None


def _digits(metric: str) -> int:
    return 1 if metric in (RANK_DISTANCE.name, "max_rank") else 4


def _label(row: Mapping[str, Any]) -> list[str]:
    metric: str = row["metric"]
    label = LABELS.get(metric) or (BIAS[metric].label if metric in BIAS else metric)
    return [label, SHORT[row["setting"]]]


def _bounds(estimate: float, found: Mapping[str, float], digits: int, sign: str = "") -> str:
    shown = [f"{value:{sign},.{digits}f}" for value in (estimate, found["low"], found["high"])]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
