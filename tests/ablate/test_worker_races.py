"""What a worker does with a run that another worker was faster with."""

from pathlib import Path

from support.made_up_plan import made_up_arm, made_up_plan

from hybrid_jax.ablate import worker
from hybrid_jax.ablate.folder import Cost, Run
from hybrid_jax.ablate.progress import Progress
from hybrid_jax.runs import lease as leases


def test_a_run_that_was_finished_between_two_looks_is_given_back_as_it_is(tmp_path: Path):
    run = Run("a", 0, tmp_path / "runs" / "a" / "seed-0")
    run.folder.mkdir(parents=True)
    (run.folder / "config.yaml").write_text("steps: 40\n")
    cost = Cost(seconds_train=1, seconds_eval=1, pairs=640, tokens=1000, host="there")
    (run.folder / "cost.json").write_text(cost.model_dump_json())
    failed: list[Run] = []
    with Progress([run]) as progress:
        assert worker._try(run, made_up_plan([made_up_arm("a")]), None, tmp_path / "leases", progress, failed.append)
    assert not failed
    last = leases.latest(tmp_path / "leases", worker.lease_name(run))
    assert last is not None
    record = leases.read(last)
    assert record is not None
    assert record.released == "done"
    assert not (run.folder / "train.log").exists()
