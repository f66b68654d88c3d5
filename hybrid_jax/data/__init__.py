"""From text to batches of token ids, as numpy arrays.

Start with `pipeline.py`, which shows how the parts fit together; `schedule.py` decides what is in each batch.
Imports `disk` and no other room, and no jax.
"""
