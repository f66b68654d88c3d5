"""What a run says about a step: its line in the log, and a note where it compiles one more program.

`numbers` are a step's metrics as Python floats.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hybrid_jax.data.batch import Batch, PackedBatch
from hybrid_jax.data.layout import Layout


def step_record(batch: Batch, numbers: Mapping[str, float]) -> dict[str, Any]:
    """A step's line in metrics.jsonl: which batch it was trained on, then its numbers.

    `tokens` are those that the model encodes of the global batch, prompts included, padding not. A batch of several
    kinds has `parts`, with the kind and the languages of each.
    """
    parts = [{"kind": part.kind, **_languages(batch, rows)} for part, rows in batch.parts]
    return {
        "kind": batch.plan.kind,
        "dataset": batch.plan.dataset,
        **_languages(batch, slice(None)),
        **({"parts": parts} if len(parts) > 1 else {}),
        "language_pairs": _language_pairs(batch),
        "rows": batch.digest,
        "tokens": int(batch.lengths.sum()),
        **numbers,
    }


def more_rows(step: int, batch: PackedBatch, layouts: Sequence[Layout], hosts: int) -> str | None:
    """A line to print once, at the first batch that needs more rows than any from which the layouts were chosen."""
    for texts, layout in zip(batch.sides, layouts, strict=True):
        chunks, rows, _ = texts.tokens.shape
        if not layout.expects(chunks * rows * hosts):
            return (
                f"step {step} needs {chunks * rows * hosts} rows of {layout.length} tokens, more than the"
                f" {max(layout.rows)} of the batches that were looked at: one more program is compiled"
            )
    return None


def _languages(batch: Batch, rows: slice) -> dict[str, dict[str, int]]:
    sides = {"query_languages": batch.query_languages, "passage_languages": batch.passage_languages}
    return {side: dict(sorted(Counter(languages[rows]).items())) for side, languages in sides.items()}


def _language_pairs(batch: Batch) -> dict[str, dict[str, int]]:
    """{query language: {passage language: number of pairs}}, both sorted."""
    counts = Counter(zip(batch.query_languages, batch.passage_languages, strict=True))
    pairs: dict[str, dict[str, int]] = {}
    for query_language, passage_language in sorted(counts):
        pairs.setdefault(query_language, {})[passage_language] = counts[query_language, passage_language]
    return pairs
