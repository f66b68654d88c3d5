"""From text to batches of token ids, as numpy arrays. `rows` makes a dataset of records in memory.

Start with `pipeline.py`, which shows how the parts fit together; `schedule.py` decides what is in each batch.
Imports `disk` and no other room, and no jax.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hybrid_jax.data.memory import rows

__all__ = ["rows"]


def __getattr__(name: str) -> Any:
    # Imported on first use: commands that only print help do not need it.
    if name == "rows":
        from hybrid_jax.data.memory import rows

        return rows
    raise AttributeError(f"module 'hybrid_jax.data' has no attribute {name!r}")
