"""PYTHONPATH=tests python -m chaos: injects faults into real runs and prints a table of what came of them."""

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from chaos.arena import ROOT, Arena, Place
from chaos.full import can_mount, unmount_below
from chaos.plan import ORDER, Unit, quick, whole
from chaos.results import Outcome, Results, table

DESCRIPTION = """Injects faults into tiny runs, in real processes, and prints a table: faults × outcome. It takes up to
30 minutes on 2 cores (--quick: half a minute). Results are added to OUT/results.jsonl as they come; started again, it
goes on with the trials that are missing there. The exit status is 1 if anything was handled badly."""


def main() -> int:
    parser = argparse.ArgumentParser("chaos", description=DESCRIPTION)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "chaos", help="default: runs/chaos")
    parser.add_argument("--seed", type=int, default=0, help="of all random moments, files and bytes")
    parser.add_argument("--quick", action="store_true", help="a few trials only")
    parser.add_argument("--only", default="", metavar="NAMES", help="units whose names begin so: kill,term-1,bytes …")
    parser.add_argument("--workers", type=int, default=2, help="how many trials at a time (default: 2)")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no trial after so long")
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    unmount_below(out)
    commit = _commit()
    arena, results = Arena(out), Results(out / "results.jsonl", commit, options.seed)
    units = [
        unit for unit in (quick() if options.quick else whole()) if unit.name.startswith(tuple(options.only.split(",")))
    ]
    left = [unit for unit in units if unit.name not in results.units]
    if any(unit.name.startswith("full-") for unit in left) and not can_mount(out):
        print("disk full: left out, since this user may not mount a tmpfs", flush=True)
        left = [unit for unit in left if not unit.name.startswith("full-")]
    began = time.monotonic()
    done, total = len(results.outcomes()), sum(unit.trials for unit in units)
    with ThreadPoolExecutor(options.workers) as pool:
        until = began + 60 * options.minutes
        futures = {pool.submit(_run, unit, arena, options.seed, until): unit for unit in left}
        for future in as_completed(futures):
            outcomes = future.result()
            if outcomes is None:
                continue
            results.add(futures[future].name, outcomes)
            done += len(outcomes)
            _progress(done, total, futures[future], time.monotonic() - began, outcomes)
    outcomes = [outcome for unit in units for outcome in results.units.get(unit.name, [])]
    print("\n".join(["", f"commit {commit}, seed {options.seed}, {os.cpu_count()} cores", *table(outcomes, ORDER)]))
    for outcome in outcomes:
        if outcome.bad:
            print(f"\n{outcome.fault}: {outcome.what}")
            print(f"  equal {outcome.equal}, lost {outcome.lost}, wrong {outcome.wrong}, hang {outcome.hang}")
            print("\n".join(f"  {problem}" for problem in outcome.problems))
    return int(any(outcome.bad for outcome in outcomes))


def _run(unit: Unit, arena: Arena, seed: int, until: float) -> list[Outcome] | None:
    if time.monotonic() > until:
        return None
    place = Place(arena, unit.name, seed)
    try:
        outcomes = unit.run(place)
    except Exception as error:  # noqa: BLE001 - one trial that cannot be judged does not end the others
        outcomes = [Outcome(unit.name, "not judged", problems=[f"{type(error).__name__}: {error}"])]
    if not any(outcome.bad for outcome in outcomes):
        place.remove()  # what went badly is kept to be looked at
    return outcomes


def _progress(done: int, total: int, unit: Unit, seconds: float, outcomes: list[Outcome]) -> None:
    bad = sum(outcome.bad for outcome in outcomes)
    line = f"{done}/{total} trials, {seconds / 60:.1f} min: {unit.name}{f', {bad} bad' if bad else ''}"
    print(f"\r\033[K{line}" if sys.stdout.isatty() else line, end="" if sys.stdout.isatty() and not bad else "\n")
    sys.stdout.flush()


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
