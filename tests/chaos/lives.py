"""Runs that are killed, told to stop, or stand still, again and again, until they may come to their end."""

import json
import re
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from chaos.arena import EVERY, Child, Place, last_checkpoint, logged
from chaos.moments import MOMENTS, later, until
from chaos.results import Outcome
from hybrid_jax.runtime.leave import STOPPED

BAD_WORDS = ("Traceback", "damaged", "FATAL", "Segmentation", "terminate called", "core dumped")
"""In the output of a run whose disk is sound, and which was only stopped."""
UNHEARD = (-signal.SIGTERM, 128 + signal.SIGTERM)
"""How SIGTERM ends a process that does not listen yet."""


def killed(place: Place, phases: Sequence[str]) -> list[Outcome]:
    """A run that is killed once in each of the phases, resumed each time, and left alone in the end."""
    return _life(place, phases, signal.SIGKILL)


def told(place: Place, phases: Sequence[str]) -> list[Outcome]:
    """The same by SIGTERM."""
    return _life(place, phases, signal.SIGTERM)


def stopped(place: Place, phases: Sequence[str]) -> list[Outcome]:
    """A run that stands still (SIGSTOP) for some seconds in each of the phases, and goes on (SIGCONT)."""
    child, outcomes = place.train(), []
    for phase in phases:
        if MOMENTS[phase](child, place.run, place.chance):
            seconds = place.chance.uniform(1, 12)
            child.send(signal.SIGSTOP)
            time.sleep(seconds)
            child.send(signal.SIGCONT)
            outcomes.append(Outcome("stopped for seconds", f"{phase}: {seconds:.1f} s at step {logged(place.run)}"))
    return finished(place, child, outcomes)


def finished(place: Place, child: Child, outcomes: list[Outcome], saved: int | None = None) -> list[Outcome]:
    """Waits for the end of the run, compares it with the undisturbed one, and notes that in all outcomes."""
    status = child.wait()
    problems = bad_words(child)
    if saved is not None:
        outcomes[-1].lost += _not_resumed(child, saved)
    difference = place.arena.difference(place.run, place.arena.reference()) if status == 0 else f"status {status}"
    if difference and not outcomes:
        outcomes = [Outcome("before any fault", "a run that was left alone")]
    for outcome in outcomes:
        outcome.equal = difference is None
        outcome.wrong = status == 0 and difference is not None
        outcome.hang |= status is None
    if difference:
        problems.append(f"{difference}: {child.last()}")
    if outcomes:
        outcomes[-1].problems += problems
    return outcomes


def bad_words(child: Child) -> list[str]:
    said = child.said()
    return [f"{word!r} in the output: {said[-1500:]}" for word in BAD_WORDS if word in said]


def _life(place: Place, phases: Sequence[str], number: signal.Signals) -> list[Outcome]:
    kill, outcomes = number == signal.SIGKILL, []
    own = ["--data.cache_dir", str(place.folder / "cache")] if "data preparation" in phases else []
    saved = None
    for phase in phases:
        if phase == "data preparation":
            shutil.rmtree(place.folder / "cache", ignore_errors=True)
        child = place.train(own)
        if not MOMENTS[phase](child, place.run, place.chance):
            return finished(place, child, outcomes, saved)  # complete before its time
        child.send(number)
        sent = time.monotonic()
        status = child.wait()
        at = f"{phase}: {number.name} after {sent - child.began:.2f} s, at step {logged(place.run)}"
        outcome = Outcome(f"{'kill -9' if kill else 'SIGTERM'}: {phase}", at, hang=status is None)
        outcome.seconds = time.monotonic() - sent
        if saved is not None and outcomes:
            outcomes[-1].lost += _not_resumed(child, saved)
        outcome.problems += bad_words(child)
        saved, steps = last_checkpoint(place.run), logged(place.run)
        if kill:  # a save is complete when the step is logged that follows the beginning of the next save
            outcome.lost += max(0, EVERY * ((steps - 1) // EVERY - 1) - saved)
        else:
            outcome.lost += max(0, steps - saved)
            if status not in (STOPPED, 0, *UNHEARD) or (status in UNHEARD and _listens(child)):
                outcome.problems.append(f"status {status}: {child.last()}")
        outcomes.append(outcome)
    return finished(place, place.train(own), outcomes, saved)


def _listens(child: Child) -> bool:
    """Whether it had said something of its data, which it does after it listens to signals."""
    return "tiny: " in child.said()


def _not_resumed(child: Child, saved: int) -> int:
    """Steps of the last checkpoint that this start did not take up, if it came as far as to say so."""
    if resumed := re.search(r"resuming .* at step (\d+)", child.said()):
        return max(0, saved - int(resumed[1]))
    return saved if saved and "step 1/" in child.said() else 0


def killed_job(place: Place, kind: str, kills: int) -> list[Outcome]:
    """`eval`, `embed` or `watch` of a finished run, killed again and again, and then left alone."""
    arena, outcomes = place.arena, []
    undisturbed, run, target = arena.result(kind), arena.reference(), place.folder / kind
    if kind == "watch":
        shutil.copytree(run, target)
    command = {
        "eval": lambda: arena.eval_command(run, target),
        "embed": lambda: arena.embed_command(run, target),
        "watch": lambda: arena.watch_command(target),
    }[kind]()
    anywhere = _anywhere(arena.seconds(kind))
    moments = [anywhere, anywhere if kind == "eval" else _when_written(target)]  # a report is written in an instant
    for number in range(kills):
        child = place.job(command)
        if not moments[number % 2](child, place):
            break  # complete before its time
        child.send(signal.SIGKILL)
        child.wait()
        at = f"after {time.monotonic() - child.began:.2f} s"
        outcomes.append(Outcome(f"kill -9: {kind}", at, problems=bad_words(child)))
    child = place.job(command)
    status = child.wait()
    equal = status == 0 and RESULTS[kind](target) == RESULTS[kind](undisturbed)
    for outcome in outcomes:
        outcome.equal, outcome.wrong, outcome.hang = equal, status == 0 and not equal, status is None
    if not equal:
        outcomes += [] if outcomes else [Outcome("before any fault", f"{kind} that was left alone", equal=False)]
        outcomes[-1].problems.append(f"status {status}: {child.last()}")
    return outcomes


def _anywhere(seconds: float) -> Callable[[Child, Place], bool]:
    return lambda child, place: later(child, place.chance.uniform(0, seconds))


def _when_written(target: Path) -> Callable[[Child, Place], bool]:
    """Just after a file in the target has appeared, changed or gone."""

    def state() -> list[tuple[str, int]]:
        try:
            return sorted((str(path), path.stat().st_mtime_ns) for path in target.rglob("*"))
        except OSError:  # one that has gone meanwhile
            return []

    def moment(child: Child, place: Place) -> bool:
        states = [state()]
        for _ in range(place.chance.randrange(1, 6)):
            if not until(child, lambda: state() != states[-1], 0.002):
                return False
            states.append(state())
        return True

    return moment


def store(folder: Path) -> dict[str, object]:
    """All of a store's files; without the manifest's facts, which name the folder of the run."""
    files: dict[str, object] = {path.name: path.read_bytes() for path in folder.iterdir()}
    return {**files, "manifest.json": {**json.loads((folder / "manifest.json").read_text()), "facts": None}}


def _report(folder: Path) -> object:
    return json.loads((folder / "report.json").read_text())["tasks"]


def _curve(run: Path) -> object:
    lines = map(json.loads, (run / "eval" / "curve.jsonl").read_text().splitlines())
    return [(line["step"], line["value"], line["figures"]) for line in lines], sorted(
        path.name for path in (run / "best").iterdir()
    )


RESULTS: dict[str, Callable[[Path], object]] = {"eval": _report, "embed": store, "watch": _curve}
