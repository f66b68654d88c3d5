"""Which of several evaluated systems is better: python -m hybrid_jax.eval compare A B [C ...]

A verdict is "better" or "worse" where the Holm-corrected p is below 0.05 *and* the 95 % interval of the difference lies
on one side of zero; otherwise "no evidence", which is not "equal": the interval says how large a difference could be.
Holm's correction is over everything that one command prints, so verdicts on fewer tasks and metrics are easier to
reach. Choose them (--tasks, --metrics) before looking at the results.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from hybrid_jax.disk.addresses import refuse_address, refuse_addresses
from hybrid_jax.eval import comparable
from hybrid_jax.eval.comparison import Comparison, Difference, Estimate, MetricRow, TaskComparison, Verdict, text
from hybrid_jax.eval.measures import per_query, stats
from hybrid_jax.eval.measures.catalogue import METRICS
from hybrid_jax.eval.measures.holm import holm
from hybrid_jax.eval.measures.parts import Part
from hybrid_jax.runtime.program import program

SWAPS_PER_TEST = 100

DESCRIPTION = f"""Compares evaluated systems query by query: every metric with its 95 % interval, and for every system
after the first a verdict: better, worse or no evidence. Questions on one paragraph are resampled together, and
each with its translations.

A system is the folder of a run or of a report, or the {per_query.FILE_NAME} that an evaluation writes (of what it shows
beside its model: {per_query.file_name_of("lsar")}, {per_query.file_name_of("untrained")}, …). NAME=A,B,C groups runs
of one configuration with different training seeds, whose spread then counts in intervals and verdicts."""

EXAMPLE = """example, three seeds of each of two recipes, on mAP and rank distance alone:

  python -m hybrid_jax.eval compare mono=runs/mono_s0,runs/mono_s1,runs/mono_s2 \\
      hybrid=runs/hybrid_s0,runs/hybrid_s1,runs/hybrid_s2 --metrics map,rank_distance

The difference is the system minus the first one. p is corrected over all verdicts printed (Holm). With one run each it
comes from a paired randomisation test and speaks of these two checkpoints, not of their recipes; with several, from
Student's t over questions and seeds; files of the same folders, as per_query.npz and per_query-lsar.npz, are the same
seeds, and each is compared with itself. Few seeds give wide intervals: train five or more to see small differences."""

Tables = Mapping[str, per_query.Table]
"""One run's values per query, by task key."""


def main(arguments: list[str]) -> int:
    """The command: prints the comparison, or one line that says what is wrong. Returns the exit status."""
    parser = argparse.ArgumentParser(
        program("eval compare"),
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "systems", nargs="+", metavar="[NAME=]RUN[,RUN...]", help="the first is the baseline of the others"
    )
    parser.add_argument("--tasks", help="only these task keys, separated by commas (default: all that the runs share)")
    parser.add_argument(
        "--metrics",
        help="only these metrics, separated by commas (default: all that the runs share but the bias panel, "
        "whose names report.json has)",
    )
    parser.add_argument(
        "--parts",
        help="only these settings or modes, separated by commas, of monolingual, cross_lingual, multilingual, search, "
        "bitext, pooled, language_oracle, balanced (default: all but the last three)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the comparison for programs too")
    options = parser.parse_args(arguments)
    try:
        refuse_addresses(options)
        paths = parse_systems(options.systems)
        matched = _match(paths)
        systems = {name: [per_query.read(path) for path in group] for name, group in paths.items()}
        chosen = _split(options.tasks), _split(options.metrics), _split(options.parts)
        comparison = compare(systems, *chosen, matched=matched)
        runs = {name: [str(path) for path in group] for name, group in paths.items()}
        comparison = comparison.model_copy(update={"runs": runs})
        if options.json:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            content = json.dumps(comparison.json_value(), indent=2, ensure_ascii=False, allow_nan=False)
            options.json.write_text(content + "\n", "utf-8")
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(text(comparison))
    return 0


def parse_systems(arguments: Sequence[str]) -> dict[str, list[Path]]:
    """{system: per-query files of its runs}, in the order given. Raises ValueError for fewer than two systems."""
    systems: dict[str, list[Path]] = {}
    for argument in arguments:
        name, equals, listed = argument.partition("=")
        # A path may contain "=" (runs/lr=0.1): NAME= has no slash in the name, and the whole is no existing path.
        if not equals or "/" in name or _exists(argument):
            name, listed = "", argument
        for part in listed.split(","):
            refuse_address(part)
        paths = [_file(Path(part)) for part in listed.split(",") if part]
        if not paths:
            raise ValueError(f"{argument!r} names no run: give [NAME=]RUN[,RUN...]")
        name = name or _name(Path(listed.split(",")[0]))
        if name in systems:
            raise ValueError(f"two systems are called {name!r}: name them, A={systems[name][0].parent} B={listed}")
        systems[name] = paths
    counts = Counter(path.resolve() for group in systems.values() for path in group)
    repeated = [path for path, count in counts.items() if count > 1]
    if repeated:
        raise ValueError(f"{repeated[0]} is given twice: a run is neither another seed nor a baseline of itself")
    if len(systems) < 2:
        raise ValueError(
            f"only one system ({', '.join(systems)}): give at least two (seeds of one are joined by commas)"
        )
    return systems


def compare(
    systems: Mapping[str, Sequence[Tables]],
    tasks: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    parts: Sequence[str] | None = None,
    matched: Collection[str] = (),
) -> Comparison:
    """Every metric of every system, and every system after the first against it.

    `systems` are the runs of each system by its name; `tasks`, `metrics` and `parts` (settings and modes) choose among
    those that all runs have. `matched` are systems whose runs are the baseline's own, in the same order, with something
    done to their vectors: what the runs share then does not count as chance.
    Raises ValueError where the runs share no task, or were not evaluated on the same data and the same queries.
    """
    keys, notes = comparable.common_tasks(systems, tasks)
    baseline, *others = systems
    single = [name for name, runs in systems.items() if len(runs) == 1]
    if single:
        notes.append(f"one run of {', '.join(single)}: taken as that checkpoint; another seed could differ by more")
    if matched:
        notes.append(f"{', '.join(matched)}: the same runs as {baseline}, so each is compared with itself")
    tables = {key: {name: [run[key] for run in runs] for name, runs in systems.items()} for key in keys}
    for key in keys:
        comparable.check_same_evaluation(key, tables[key])
    columns = {
        key: comparable.shared_columns(key, [run for runs in tables[key].values() for run in runs], metrics, parts)
        for key in keys
    }
    if metrics is None:
        for key in keys:
            measured = [comparable.measured(run) for runs in tables[key].values() for run in runs]
            missing = sorted(set.union(*measured) - set.intersection(*measured) - comparable.ON_REQUEST)
            if missing:
                notes.append(f"left out of {key}, since not every run has it: {', '.join(missing)}")
    # The least p is 1 / (swaps + 1) times the tests: with many tests it takes more swaps to prove anything.
    tests = len(others) * sum(map(len, columns.values()))
    swaps = max(stats.SWAPS, SWAPS_PER_TEST * tests)
    estimates: dict[tuple[str, str, Part], dict[str, Estimate]] = {}
    differences: dict[tuple[str, str, Part, str], stats.Difference] = {}
    few: dict[str, set[tuple[str, Part]]] = {key: set() for key in keys}
    for key in keys:
        units = tables[key][baseline][0].units
        for metric, setting in columns[key]:
            values = {
                name: np.stack([run.by_question(setting, metric) for run in runs]) for name, runs in tables[key].items()
            }
            if not stats.enough(values[baseline][0], units):
                few[key].add((metric, setting))
            for name in others:
                differences[key, metric, setting, name] = stats.difference(
                    values[name], values[baseline], units, swaps=swaps, matched=name in matched
                )
            estimates[key, metric, setting] = {
                name: _estimate(stats.interval(runs, units)) for name, runs in values.items()
            }
    corrected = holm([tested.p for tested in differences.values()])
    against: dict[tuple[str, str, Part, str], Difference] = {}
    for (column, tested), p_holm in zip(differences.items(), corrected, strict=True):
        key, metric, setting, _ = column
        against[column] = judged(metric, tested, p_holm, enough=(metric, setting) not in few[key])
    fewer = f"fewer than {stats.LEAST_UNITS} questions or paragraphs"
    notes += [f"no intervals and verdicts in {key} where a language has {fewer}" for key in keys if few[key]]
    compared = {}
    for key in keys:
        rows = [
            MetricRow(
                metric=metric,
                setting=setting,
                systems=estimates[key, metric, setting],
                against_baseline={name: against[key, metric, setting, name] for name in others},
                intervals=(metric, setting) not in few[key],
            )
            for metric, setting in columns[key]
        ]
        first = tables[key][baseline][0]
        compared[key] = TaskComparison(
            queries=len(first.ids), questions=len(first.units), units=len(set(first.units.tolist())), rows=rows
        )
    return Comparison(
        baseline=baseline,
        systems={name: len(runs) for name, runs in systems.items()},
        confidence=stats.CONFIDENCE,
        notes=notes,
        tasks=compared,
    )


def judged(metric: str, tested: stats.Difference, p_holm: float, enough: bool) -> Difference:
    """A tested difference in a metric, with its corrected p and the verdict: none without `stats.enough`."""
    estimate, low, high = tested.interval
    verdict_of = verdict(metric, low, high, p_holm) if enough else "no evidence"
    return Difference(difference=estimate, low=low, high=high, p=tested.p, p_holm=p_holm, verdict=verdict_of)


def verdict(metric: str, low: float, high: float, p: float) -> Verdict:
    """The verdict from the interval of a difference and its corrected p."""
    if p >= stats.LEVEL or low <= 0 <= high:
        return "no evidence"
    better = METRICS[metric].better
    if better == "neither":
        return "higher" if low > 0 else "lower"
    return "better" if (low > 0) != (better == "lower") else "worse"


def _estimate(interval: tuple[float, float, float]) -> Estimate:
    estimate, low, high = interval
    return Estimate(estimate=estimate, low=low, high=high)


def _match(paths: dict[str, list[Path]]) -> list[str]:
    """The systems whose files lie beside those of the first system, one in a folder, put into its order.

    They are the same runs: `eval` names a file by what was done to the vectors, and each evaluation has its folder.
    """
    first, *others = paths
    order = [path.resolve().parent for path in paths[first]]
    written = {name for name, files in paths.items() if all(per_query.is_file_name(path.name) for path in files)}
    matched = [
        name
        for name in others
        if {first, name} <= written
        and len(set(order)) == len(order)
        and sorted(path.resolve().parent for path in paths[name]) == sorted(order)
    ]
    for name in matched:
        paths[name].sort(key=lambda path: order.index(path.resolve().parent))
    return matched


def _exists(argument: str) -> bool:
    try:
        return Path(argument).exists()
    except OSError:  # a list of runs that is longer than a name may be
        return False


def _file(path: Path) -> Path:
    """The per-query file in a run's folder or a report's folder, or the file itself."""
    for file in (path, path / per_query.FILE_NAME, path / "eval" / per_query.FILE_NAME):
        if file.is_file():
            return file
    if not path.exists():
        raise ValueError(f"no run {path}: give a run's folder, a report's folder or a {per_query.FILE_NAME}")
    raise ValueError(
        f"{path} holds no {per_query.FILE_NAME}: evaluate it first, python -m hybrid_jax.eval --ckpt {path}"
    )


def _name(path: Path) -> str:
    """The name of a system that was given none: its folder's."""
    return path.parent.resolve().name if path.is_file() else path.resolve().name


def _split(names: str | None) -> list[str] | None:
    return None if names is None else [name.strip() for name in names.split(",") if name.strip()] or None
