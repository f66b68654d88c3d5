"""What a run has done and where its time went, from its folder: python -m hybrid_jax.train summary RUN."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from hybrid_jax.disk.tables import aligned
from hybrid_jax.runs.checkpoint import steps
from hybrid_jax.runs.skips import read_skips
from hybrid_jax.runs.workdir import WorkdirError, read_log, read_starts
from hybrid_jax.train.goodput import PHASES


def summary(run: Path) -> Iterator[str]:
    """The lines of a run's summary. Raises WorkdirError for a folder that is no run, or has a damaged log."""
    if not (run / "config.yaml").exists():
        raise WorkdirError(f"{run} is not a run (it has no config.yaml): give a run's workdir")
    seconds: Counter[str] = Counter()
    pairs = tokens = done = 0
    last: dict[str, float] = {}
    for _, record in read_log(run / "metrics.jsonl"):
        done += 1
        last = record
        pairs += sum(record["query_languages"].values())
        tokens += record["tokens"]
        seconds.update(record["seconds"])
    starts, saved, skips = read_starts(run), steps(run / "checkpoints"), read_skips(run)
    yield f"{run}: {done:,} steps in {len(starts)} {'start' if len(starts) == 1 else 'starts'}"
    yield "checkpoints: " + (", ".join(map(str, saved)) or "none")
    for skip in skips.skipped:
        yield f"left out: steps {skip.first} to {skip.last} ({skip.reason})"
    if last:
        shown = {name: last[name] for name in ("loss", "accuracy") if last.get(name) is not None}
        values = ", ".join(f"{name} {value:.4f}" for name, value in shown.items())
        yield f"trained on {pairs:,} pairs, {tokens:,} tokens; at the last step {values}"
    total = sum(seconds.values())
    if not total:
        yield "its log has no times"
        return
    rows = [["", "seconds", "share"]]
    rows += [[PHASES[name], f"{seconds[name]:,.1f}", f"{seconds[name] / total:.1%}"] for name in PHASES]
    yield from aligned([*rows, ["in all", f"{total:,.1f}", f"{1:.1%}"]])
    rate = pairs / seconds["step"] if seconds["step"] else 0.0
    yield f"goodput {seconds['step'] / total:.1%}; {pairs / total:,.1f} pairs per second, {rate:,.1f} while training"
