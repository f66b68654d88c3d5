"""What a run says about a step: its line in the log, the introduction of the first step, and the end of a diverged run.

`numbers` are a step's metrics as Python floats.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from hybrid_jax.data.batch import Batch
from hybrid_jax.disk.files import atomic_files


class DivergedError(ValueError):
    """The loss or the gradient is not finite; the message says in which file the batch is described."""


def step_record(batch: Batch, numbers: Mapping[str, float]) -> dict[str, Any]:
    """A step's line in metrics.jsonl: which batch it was trained on, then its numbers.

    `tokens` are those that the model encodes of the global batch, prompts included, padding not.
    """
    return {
        "kind": batch.plan.kind,
        "dataset": batch.plan.dataset,
        "query_languages": dict(sorted(Counter(batch.query_languages).items())),
        "passage_languages": dict(sorted(Counter(batch.passage_languages).items())),
        "language_pairs": _language_pairs(batch),
        "rows": batch.digest,
        "tokens": int(batch.lengths.sum()),
        **numbers,
    }


def introduction(numbers: Mapping[str, float], devices: int, accumulate: int) -> list[str]:
    """Lines to print once, at the first step of a start: how many negatives a query is compared with."""
    passages, masked = numbers["negatives"] + numbers["masked"], numbers["masked"]
    lines = [f"each query sees {passages:.0f} negatives ({masked:.1f} masked) from {devices} devices"]
    if "positives" in numbers:
        lines[0] += f", and in this batch {numbers['positives']:.1f} positives"
    if accumulate > 1:
        lines.append(f"gradients are averaged over {accumulate} batches, which adds no negatives")
    return lines


def stop_if_diverged(workdir: Path, batch: Batch, numbers: Mapping[str, float]) -> None:
    """Raises DivergedError when the loss or the gradient norm is not finite.

    The batch and its numbers are written to diverged_at_step_N.json in `workdir` first.
    """
    if all(math.isfinite(numbers[name]) for name in ("loss", "grad_norm")):
        return
    step = batch.plan.step
    path = workdir / f"diverged_at_step_{step}.json"
    if jax.process_index() == 0:
        shown = {name: value if math.isfinite(value) else str(value) for name, value in numbers.items()}
        content = {"step": step, **step_record(batch, {}), "ids": batch.ids, **shown}
        atomic_files(workdir, {path.name: json.dumps(content, indent=2).encode()})
    raise DivergedError(
        f"step {step}: loss {numbers['loss']}, gradient norm {numbers['grad_norm']}; its rows are in {path}: "
        f"look at them, or lower optimizer.learning_rate"
    )


def _language_pairs(batch: Batch) -> dict[str, dict[str, int]]:
    """{query language: {passage language: number of pairs}}, both sorted."""
    counts = Counter(zip(batch.query_languages, batch.passage_languages, strict=True))
    pairs: dict[str, dict[str, int]] = {}
    for query_language, passage_language in sorted(counts):
        pairs.setdefault(query_language, {})[passage_language] = counts[query_language, passage_language]
    return pairs
