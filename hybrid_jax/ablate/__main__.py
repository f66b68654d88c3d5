"""python -m hybrid_jax.ablate --config FILE --workdir FOLDER --grid mixture.monolingual_fraction=0,0.5,1"""

import argparse
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

from hybrid_jax.ablate.arms import MIXTURES
from hybrid_jax.ablate.folder import Plan, read_plan, runs
from hybrid_jax.ablate.request import (
    Request,
    parse_fields,
    parse_grid,
    parse_ranges,
    parse_seeds,
    read_sweep,
    request,
    with_own_arms,
)
from hybrid_jax.disk.addresses import refuse_addresses
from hybrid_jax.runtime.program import program

DESCRIPTION = """Trains and evaluates a config with a few fields varied: every arm with every seed, at equal budgets.

Runs are ordinary run folders in WORKDIR/runs/ARM/seed-S. Finished ones are skipped and interrupted ones resumed when
the command is given again, with more arms or seeds if you like, and workers on other machines that share the folder
join with the same command, or with --workdir alone. Any field of the config can be set for all arms, its value as
YAML: --steps 400.

arms that have names:
"""
EXAMPLE = """examples:

  python -m hybrid_jax.ablate --sweep configs/sweeps/demo_alpha.yaml --workdir sweeps/first
  python -m hybrid_jax.ablate --config configs/demo.yaml --workdir sweeps/alpha --seeds 3 --arms x-x,mono-then-cross \\
      --grid mixture.monolingual_fraction=0,0.25,0.5,0.75,1

Several --grid are crossed; named arms stand beside the values of mixture.monolingual_fraction. The exit status is 0
when all runs are finished, 1 when one failed or something is wrong, and 128 + n after signal n."""


def main() -> int:
    """The command. Returns the exit status."""
    arguments, words = _parser().parse_known_args()
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    try:
        refuse_addresses(arguments)
        return _ablate(arguments, words)
    except (ValueError, OSError, RuntimeError) as error:  # mistakes in options, configs or folders, and a full disk
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        print(f"stopped; the same command, or --workdir {arguments.workdir} alone, goes on", file=sys.stderr)
        return 128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, MIXTURES))
    names = "\n".join(f"  {name.ljust(width)}  {meaning}" for name, meaning in MIXTURES.items())
    parser = argparse.ArgumentParser(
        program("ablate"),
        description=DESCRIPTION + names,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--workdir", type=Path, required=True, help="the sweep's folder; a sweep that is there goes on")
    parser.add_argument("--config", type=Path, help="the base config, such as configs/demo.yaml")
    parser.add_argument("--sweep", type=Path, help="a YAML file with these options, such as those in configs/sweeps/")
    parser.add_argument(
        "--grid", action="append", default=[], metavar="FIELD=V1,V2", help="a field's values, as in a YAML list"
    )
    parser.add_argument(
        "--search", type=int, metavar="N", help="N trials of values that Optuna chooses by held-out accuracy, no sweep"
    )
    parser.add_argument(
        "--range",
        action="append",
        default=[],
        metavar="FIELD=LOW:HIGH[:log]",
        help="what --search chooses from; FIELD=[A,B] for choices",
    )
    parser.add_argument(
        "--arms", metavar="NAME,…", help="arms that have names, see above, or that the sweep file defines"
    )
    parser.add_argument(
        "--languages-curve", metavar="N,…", help="arms that train on the first 2, 4, … languages: 2,4,8,11"
    )
    parser.add_argument(
        "--order",
        metavar="diverse|similar|FILE",
        help="of --languages-curve: by typological distance, or a file with a language a line (default: diverse)",
    )
    parser.add_argument("--seeds", help="how many seeds, from the config's on, or which: 3, or 0,7 (default: 1)")
    parser.add_argument("--tasks", help="what each run is evaluated on, as in hybrid_jax.eval (default: demo)")
    parser.add_argument(
        "--baseline",
        metavar="ARM,…",
        help="what the others are tested against, within their group if mixtures are crossed (default: the first)",
    )
    parser.add_argument(
        "--debias", metavar="METHODS", help="evaluate each run after these, too, as in hybrid_jax.eval: ARM+METHOD"
    )
    parser.add_argument("--debias-text", nargs="+", metavar="FILE", help="what --debias is fitted on")
    parser.add_argument("--skip-bad-rows", action="store_true", help="skip bad rows of the training data")
    parser.add_argument("--data-dir", type=Path, help="where the tasks' official files lie, on this machine")
    parser.add_argument(
        "--allow-leakage", action="store_true", help="go on though training has texts of the evaluation: leakage.json"
    )
    parser.add_argument("--dry-run", action="store_true", help="show the plan, and its time by a few measured steps")
    parser.add_argument("--page-only", action="store_true", help="run nothing: write the page of what there is")
    return parser


def _ablate(arguments: argparse.Namespace, words: list[str]) -> int:
    sweep = arguments.workdir
    requested_fields = _requested_fields(arguments, words)
    if requested_fields.keys() & {"search", "ranges"} or (not requested_fields and (sweep / "search.json").exists()):
        return _search(requested_fields, arguments)
    if arguments.dry_run and not requested_fields:
        raise ValueError("--dry-run is of a plan: give --sweep FILE too, or --config with --grid or --arms")
    if requested_fields:
        plan = _planned(request(requested_fields, str(arguments.sweep or "options")), arguments)
    else:
        plan = read_plan(sweep)
    if plan is None:
        raise ValueError(f"{sweep} holds no sweep: give --config and --grid or --arms, or --sweep (see --help)")
    if arguments.dry_run:
        return 0
    if arguments.page_only:
        failed = []
    else:
        plan, failed = _work(sweep, plan, arguments)
    _conclude(sweep, plan)
    return 1 if failed else 0


def _search(requested_fields: dict[str, Any], arguments: argparse.Namespace) -> int:
    from hybrid_jax.ablate.search import make_plan, read_search, search

    for option, given, instead in (
        ("--dry-run", arguments.dry_run, "a search writes its page after each trial"),
        ("--page-only", arguments.page_only, "a search writes its page after each trial"),
        ("--data-dir", arguments.data_dir is not None, "a search evaluates on held-out training data alone"),
        ("--allow-leakage", arguments.allow_leakage, "a search evaluates on held-out training data alone"),
    ):
        if given:
            raise ValueError(f"{option} is for sweeps: {instead}")
    command = f"python -m hybrid_jax.ablate {shlex.join(sys.argv[1:])}"
    if requested_fields:
        plan = make_plan(request(requested_fields, str(arguments.sweep or "options")), command)
    else:
        plan = read_search(arguments.workdir)
        assert plan is not None
    search(arguments.workdir, plan, lambda line: print(line, flush=True))
    return 0


def _requested_fields(arguments: argparse.Namespace, words: list[str]) -> dict[str, Any]:
    """The request's fields as given: those of the sweep file, and those of the command line over them."""
    content = read_sweep(arguments.sweep) if arguments.sweep else {}
    given: dict[str, Any] = {"config": arguments.config}
    given["search"] = arguments.search
    given["seeds"] = parse_seeds(arguments.seeds) if arguments.seeds is not None else None
    given["debias_text"] = arguments.debias_text
    for name in ("arms", "tasks", "baseline", "debias"):
        text = getattr(arguments, name)
        given[name] = None if text is None else [part.strip() for part in text.split(",") if part.strip()]
    given["order"] = arguments.order
    if arguments.languages_curve is not None:
        given["languages_curve"] = arguments.languages_curve.split(",")
    if arguments.skip_bad_rows:
        given["skip_bad_rows"] = True
    if given["arms"] is not None:
        given["arms"] = with_own_arms(given["arms"], content.get("arms"))
    content |= {name: value for name, value in given.items() if value is not None}
    options = {"grid": parse_grid(arguments.grid), "ranges": parse_ranges(arguments.range), "set": parse_fields(words)}
    for name, fields in options.items():
        if fields:
            content[name] = {**(content.get(name) or {}), **fields}
    return content


def _planned(sweep_request: Request, arguments: argparse.Namespace) -> Plan:
    """The plan, shown; it is written to the sweep's folder unless this is a dry run."""
    from hybrid_jax.ablate import plan as planning  # imports jax, which --help and a worker's start do not need
    from hybrid_jax.ablate.budget import pairs
    from hybrid_jax.ablate.summary import plan_table

    words = [word for word in sys.argv[1:] if word != "--dry-run"]
    planned = planning.make_plan(sweep_request, f"python -m hybrid_jax.ablate {shlex.join(words)}")
    plan, configs = planned
    planning.continued(arguments.workdir, plan)
    counts = {name: pairs(planning.fields_of(config)) for name, config in configs.items()}
    number = len(runs(arguments.workdir, plan))
    arms, seeds = len(plan.arms), len(plan.seeds)
    print(f"arms: {arms}, seeds: {seeds}, runs: {number}, each evaluated on {', '.join(plan.tasks)}")
    print("\n".join(plan_table(plan, {name: config.steps for name, config in configs.items()}, counts)))
    for sentence in () if arguments.page_only else plan.unequal:  # else it is said at the end, with what the runs show
        print(f"not equal: {sentence}")
    if arguments.dry_run:
        _say_time(plan, counts, arguments.data_dir)
        return plan
    planning.write(arguments.workdir, planned)
    sys.stdout.flush()
    whole = read_plan(arguments.workdir) or plan  # with the arms and seeds that others have added
    if (more := len(runs(arguments.workdir, whole)) - number) > 0:
        print(f"the sweep there has {more} more runs, which this command does as well: {whole.command}", flush=True)
    return whole


def _say_time(plan: Plan, pairs: dict[str, int], data_dir: Path | None) -> None:
    from tqdm import tqdm

    from hybrid_jax.ablate.estimate import measure

    print("timing a few steps and an evaluation of the base config …", flush=True)
    estimate = measure(plan, data_dir)
    clock = tqdm.format_interval
    step = estimate.per_pair * plan.base["batch_size"]
    seconds = sum(estimate.run(count) for count in pairs.values()) * len(plan.seeds)
    print(f"measured: {estimate.start:.1f} s to start, {step:.3f} s a step, {estimate.evaluation:.1f} s to evaluate")
    print(f"estimated: {clock(seconds)} by one worker at this speed")


def _work(sweep: Path, plan: Plan, arguments: argparse.Namespace) -> tuple[Plan, list[Any]]:
    """Does the runs of the plan, and those that others add to it meanwhile. Returns the last plan, and what failed."""
    from hybrid_jax.ablate.leakage import require_clean
    from hybrid_jax.ablate.phases import debias_files
    from hybrid_jax.ablate.progress import Progress
    from hybrid_jax.ablate.worker import work

    while True:
        debias_files(plan)  # a file that is missing is said now, not after the first training
        line = require_clean(sweep, plan, arguments.data_dir, arguments.allow_leakage)
        if line is not None:
            print(line, flush=True)
        with Progress(runs(sweep, plan)) as progress:
            failed = work(sweep, plan, arguments.data_dir, progress)
        now = read_plan(sweep) or plan
        if now == plan:
            return plan, failed
        plan = now
        print(f"the sweep has changed: {len(runs(sweep, plan))} runs, by {plan.command}", flush=True)


def _conclude(sweep: Path, plan: Plan) -> None:
    """Says what the sweep has, finished or not."""
    from hybrid_jax.ablate.budget import found_unequal
    from hybrid_jax.ablate.summary import closing_lines

    for sentence in (*plan.unequal, *found_unequal(sweep, plan)):
        print(f"not equal: {sentence}")
    print("\n".join(closing_lines(sweep, plan)), flush=True)
    if any(run.finished for run in runs(sweep, plan)):
        from hybrid_jax.ablate.page import write_page

        print(f"page: {write_page(sweep)}")


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt(number)


if __name__ == "__main__":
    sys.exit(main())
