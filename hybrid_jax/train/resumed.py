"""What may differ when a run is resumed, by dotted field of the config; the values are those of `config.flat`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Values = Mapping[str, Any]

OF_A_HOST = ("log_every", "wandb_project", "data.cache_dir")
"""Fields that may differ between the processes of a run."""
HARMLESS = (
    *(*OF_A_HOST, "mesh", "microbatch_rows", "checkpoint", "compare_every", "divergence"),
    *("heldout_every", "heldout_batches", "data.heldout_pool"),
)
"""Fields that a resumed run may change, because they do not change what is learned (mesh and microbatch_rows: up to
rounding, and with loss.negatives local the number of devices is held; divergence: but for the batches that skipped.json
names; the last two: see `incomparable`)."""
POOL = "data.heldout_pool"


def changed(begun: Values, now: Values) -> dict[str, Any]:
    """The fields whose values are not those with which the run began, with their values now."""
    return {name: value for name, value in now.items() if begun.get(name) != value}


def incomparable(starts: Sequence[Values], now: Values) -> Iterator[str]:
    """Lines "name: old -> new (reason)" for what an earlier start has measured differently from this one.

    The best checkpoint, and patience, compare the best_metric over all starts, so that it must be measured on the same
    held-out records.
    """
    metric = now["checkpoint.best_metric"]
    if not metric.startswith("heldout_"):
        return
    name = POOL if metric.startswith("heldout_map_") else "heldout_batches"
    measured = {start[name]: None for start in starts if start["heldout_every"]}
    for value in measured:
        if value not in (0, now[name]):  # a pool of 0 was not measured
            yield (
                f"{name}: {value} -> {now[name]}, and checkpoint.best_metric {metric} would compare values of "
                f"both: type --{name} {value}"
            )
