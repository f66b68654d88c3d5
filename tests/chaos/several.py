"""Runs of two processes: one is killed, frozen or told to stop, or means something else; and two runs in one folder."""

import json
import re
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from chaos.arena import LIMIT, NOTHING, ROOT, Child, Place, last_checkpoint, logged
from chaos.lives import bad_words, finished
from chaos.moments import MOMENTS, later, until
from chaos.results import Outcome
from hybrid_jax.runtime.leave import STOPPED

LEAST = 30.0
"""Seconds within which the others have to end when a process is lost."""


def lost(place: Place, number: signal.Signals, times: int) -> list[Outcome]:
    """One of two processes is killed or frozen, again and again; all are started again, and in the end left alone."""
    reference, outcomes = place.arena.reference(2), []
    frozen = number == signal.SIGSTOP
    for _ in range(times):
        children = place.arena.start_run(place.run, place.folder, 2)
        phase = place.chance.choice(["step", "step", "save", "commit"])
        if not MOMENTS[phase](children[0], place.run, place.chance):
            break
        later(children[0], 2.5)  # the signs of life have been seen, which name the process
        victim = place.chance.randrange(2)
        at = f"process {victim}, {phase}, at step {logged(place.run)}"
        if not children[0].running():
            break
        children[victim].send(number)
        sent = time.monotonic()
        status = children[1 - victim].wait()
        outcome = Outcome(f"two processes, one {'frozen' if frozen else 'killed'}", at, hang=status is None)
        outcome.seconds = time.monotonic() - sent
        if outcome.seconds > LEAST + 5:
            outcome.problems.append(f"the other took {outcome.seconds:.0f} s to end")
        last = children[1 - victim].last()
        if status != 1 or not re.fullmatch(
            rf"error: process {victim} .*: start all again; .*(step \d+|no checkpoint yet)", last
        ):
            outcome.problems.append(f"status {status}: {last}")
        if frozen:
            children[victim].send(signal.SIGCONT)
            outcome.hang |= children[victim].wait(90) is None
        outcomes.append(outcome)
    children = place.arena.start_run(place.run, place.folder, 2)
    return _end(place, children, outcomes, reference)


def _end(place: Place, children: Sequence[Child], outcomes: list[Outcome], reference: Path) -> list[Outcome]:
    statuses = [child.wait() for child in children]
    done = statuses == [0] * len(children)
    difference = place.arena.difference(place.run, reference) if done else f"status {statuses}"
    if difference and not outcomes:
        outcomes = [Outcome("before any fault", "a run that was left alone")]
    for outcome in outcomes:
        outcome.equal, outcome.wrong = difference is None, done and difference is not None
        outcome.hang |= None in statuses
    if difference:
        outcomes[-1].problems.append(f"{difference}: {children[0].said()[-800:]}")
    return outcomes


SHAPES = {
    "one device": (1, 1, ()),
    "two processes": (2, 1, ()),
    "two devices": (1, 2, ()),
    "two devices, fsdp": (1, 2, ("--mesh.fsdp", "2")),
    "two processes, fsdp": (2, 1, ("--mesh.fsdp", "2")),
}


def resized(place: Place, shapes: Sequence[str]) -> list[Outcome]:
    """A run that is told to stop and goes on in another shape. Equal: the same batches, losses up to rounding."""
    children: list[Child] = []
    reference, outcomes, before = place.arena.reference(), [], 0
    for number, shape in enumerate(shapes):
        processes, devices, more = SHAPES[shape]
        children = place.arena.start_run(place.run, place.folder, processes, devices, more)
        if number:
            outcomes.append(Outcome("world size changed", f"{shapes[number - 1]} to {shape}, at step {before}"))
        if number == len(shapes) - 1:
            break
        if not MOMENTS["step"](children[0], place.run, place.chance):
            break
        children[0].send(signal.SIGTERM)
        sent = time.monotonic()
        statuses = [child.wait() for child in children]
        before = logged(place.run)
        if number:
            outcomes[-1].seconds = time.monotonic() - sent
            outcomes[-1].lost = before - last_checkpoint(place.run)
            outcomes[-1].hang = None in statuses
        if statuses != [STOPPED] * processes:
            (outcomes or [Outcome("world size changed", shape)])[-1].problems.append(
                f"{shape}: status {statuses}: {children[0].last()}"
            )
    statuses = [child.wait() for child in children]
    expected, actual = (_batches(run) for run in (reference, place.run))
    furthest = max((abs(a - b) / abs(a) for (_, a), (_, b) in zip(expected, actual, strict=False)), default=0.0)
    equal = set(statuses) == {0} and [b for b, _ in expected] == [b for b, _ in actual] and furthest < 1e-4
    if not equal and not outcomes:
        outcomes = [Outcome("before any fault", "a run that was left alone")]
    for outcome in outcomes:
        outcome.equal, outcome.wrong = equal, set(statuses) == {0} and not equal
        outcome.hang |= None in statuses
        outcome.what += f"; losses within {furthest:.1g}"
    if not equal:
        outcomes[-1].problems.append(f"status {statuses}, losses within {furthest:.2g}: {children[0].last()}")
    return outcomes


def _batches(run: Path) -> list[tuple[object, float]]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [((line["step"], line["rows"]), line["loss"]) for line in lines]


DIFFERENCES: dict[str, Sequence[str]] = {
    "seed": ("--seed", "4"),
    "optimizer.learning_rate": ("--optimizer.learning_rate", "0.02"),
    "batch_size": ("--batch_size", "16"),
    "data.tokenizer.vocab_size": ("--data.tokenizer.vocab_size", "310"),
    "mixture.monolingual_fraction": ("--mixture.monolingual_fraction", "0.5"),
    "steps": ("--steps", "100"),
    "data.max_passage_length": ("--data.max_passage_length", "12"),
    "checkpoint.every": ("--checkpoint.every", "7"),
    "tiny": (),
    "code": (),
}
"""What process 1 is given that process 0 is not: a field, the content of the data set, or another code."""


def disagreeing(place: Place, name: str) -> list[Outcome]:
    """Two processes that differ in one respect, at the start or when a run is resumed."""
    environment: dict[str, str] = {}
    if name == "tiny":
        text = place.arena.rows.read_text(encoding="utf-8")
        (place.folder / "rows.jsonl").write_text(text.replace("river town?", "river town, please?", 1))
        environment = {"CHAOS_ROWS": str(place.folder)}
    if name == "code":
        other = place.folder / "other"  # not the folder that both processes are started in, whose modules come first
        shutil.copytree(ROOT / "hybrid_jax", other / "hybrid_jax")
        with (other / "hybrid_jax" / "train" / "loss.py").open("a") as file:
            file.write("# another version\n")
        environment = {"PYTHONPATH": str(other)}
    began = time.monotonic()
    changes = [(NOTHING, ()), (environment, DIFFERENCES[name])]
    children = place.arena.start_run(place.run, place.folder, 2, changes=changes)
    statuses = [child.wait() for child in children]
    outcome = Outcome("hosts that disagree", name, seconds=time.monotonic() - began)
    outcome.wrong, outcome.hang = 0 in statuses, None in statuses
    if statuses != [1, 1] or not any(name in child.last() for child in children):
        outcome.problems.append(f"status {statuses}: {' | '.join(child.last() for child in children)}")
    if logged(place.run):
        outcome.problems.append(f"it trained {logged(place.run)} steps")
    return [outcome]


def two_trainers(place: Place) -> list[Outcome]:
    """A second trainer is started in the folder of the first: one of them trains, and the other says so."""
    first = place.train()
    phase = place.chance.choice(["at once", "start", "step", "save", "commit"])
    if phase != "at once":
        MOMENTS[phase](first, place.run, place.chance)
    if phase not in ("at once", "start"):
        first.send(signal.SIGSTOP)  # so that it is not done before the second one has started
    began = time.monotonic()
    second = place.train()
    until(second, lambda: _holder(place.run) in (first.pid, second.pid))
    holder, refused = (second, first) if _holder(place.run) == second.pid else (first, second)
    holder.send(signal.SIGSTOP)
    status = refused.wait()
    outcome = Outcome("two trainers", phase, hang=status is None, seconds=time.monotonic() - began)
    holder.send(signal.SIGCONT)
    if status != 1 or "is training in" not in refused.last():
        outcome.problems.append(f"status {status}: {refused.said()[-800:]}")
    return finished(place, holder, [outcome])


def _holder(run: Path) -> int | None:
    """The process that has the workdir."""
    try:
        return json.loads(next((run / "lock").glob("*.json")).read_text())["pid"]
    except (StopIteration, OSError, ValueError):
        return None


def many_saves(place: Place, steps: int) -> list[Outcome]:
    """As many saves as steps, under a limit of 256 open files."""
    few, many = (["--steps", str(steps), "--checkpoint.every", every] for every in (str(steps), "1"))
    reference = place.arena.reference(more=few)
    child = place.job(["bash", "-c", 'ulimit -n 256; exec "$@"', "bash", *place.arena.train_command(place.run, many)])
    status = child.wait(2 * LIMIT)
    difference = place.arena.difference(place.run, reference, many) if status == 0 else f"status {status}"
    what = f"{steps} saves under a limit of 256 files"
    outcome = Outcome("many saves", what, equal=difference is None, hang=status is None, problems=bad_words(child))
    outcome.wrong = status == 0 and difference is not None
    if difference:
        outcome.problems.append(f"{difference}: {child.last()}")
    return [outcome]
