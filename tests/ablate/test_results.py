"""What is read of a sweep's folder, and what is wrong with it."""

from pathlib import Path

import pytest
from support.made_up_sweep import made_up_sweep

from hybrid_jax.ablate.results import read_sweep


def test_all_runs_with_damaged_evaluations_are_named_at_once(tmp_path: Path):
    folder = made_up_sweep(tmp_path / "sweep", {"a": 0.0, "b": 1.0})
    runs = folder / "runs"
    for run in ("b/seed-0", "a/seed-1", "b/seed-1"):  # in the order in which they are trained
        (runs / run / "eval" / "per_query.npz").write_bytes(b"cut")
    with pytest.raises(ValueError, match=r"b/seed-0/eval/per_query\.npz: ") as refused:
        read_sweep(folder)
    assert str(refused.value).endswith(
        f"delete {runs}/b/seed-0/cost.json, and the sweep's command evaluates the run again; "
        f"the same of {runs}/a/seed-1/cost.json, {runs}/b/seed-1/cost.json"
    )
