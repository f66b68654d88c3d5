"""Processes that differ in what must be the same: all of them end, and name the field, the process and the host."""

import re
import shutil
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.processes import two_processes

from hybrid_jax.runs.checkpoint import steps
from hybrid_jax.runtime.agreement import DisagreementError, bit_sum, check_processes_agree, check_step_agrees
from hybrid_jax.runtime.mesh import MeshConfig, make_mesh, replicated
from hybrid_jax.runtime.processes import start_distributed


def message(facts: dict[str, object]) -> str:
    with pytest.raises(DisagreementError) as raised:
        check_processes_agree(facts, "at noon", "do this")
    return str(raised.value)


def worker() -> None:
    """What each of two processes runs."""
    start_distributed()
    start_distributed()  # a second `hybrid_jax.train` in one session
    me = jax.process_index()
    check_processes_agree({"seed": 3, "long": "x" * 9999}, "at noon", "do this")
    said = message({"seed": 3 + me, "long": "x" * 9999})
    assert said.startswith("at noon the processes differ: seed is 4 in process 1 on "), said
    assert ", and 3 in process 0 on " in said, said
    assert said.endswith(": do this"), said
    assert "long is xxx" in message({"long": "x" * 9999 + "y" * me})
    assert "only is None in process 1" in message({"only": 1} if me == 0 else {})
    assert " (and 6 more): do this" in message({str(n): n + me for n in range(9)})

    check_step_agrees(7, "abc", parameters(False))
    assert "after step 7 the processes differ: the digest of the batches is abd in process 1" in step_message(
        "abd" if me else "abc", parameters(False)
    )
    said = step_message("abc", parameters(flipped=me == 1))
    assert re.search(r"the sum of the state's bits is \d+ in process 1 on .*, and \d+ in process 0", said), said
    sys.stdout.write("agreed\n")


def step_message(batch: str, tree: dict[str, jax.Array]) -> str:
    with pytest.raises(DisagreementError) as raised:
        check_step_agrees(7, batch, tree)
    return str(raised.value)


def parameters(flipped: bool) -> dict[str, jax.Array]:
    """Copies of two arrays on all devices; in this process the lowest bit of an element may be another."""
    sharding = replicated(make_mesh(MeshConfig()))
    weights, bias = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(3, jnp.bfloat16)
    weights[0, 1] = np.nan
    weights.view(np.uint32)[1, 2] ^= flipped
    return {
        "weights": jax.make_array_from_process_local_data(sharding, weights),
        "bias": jax.make_array_from_process_local_data(sharding, bias),
    }


@pytest.mark.timeout(150)
def test_two_processes_that_differ_name_the_field_and_the_process():
    command = [sys.executable, __file__]
    with two_processes([command, command]) as processes:
        for process in processes:
            said, _ = process.communicate(timeout=120)
            assert process.returncode == 0, said
            assert "agreed" in said


def test_one_process_has_nobody_to_differ_from():
    check_processes_agree({"seed": 3}, "at noon", "do this")
    check_step_agrees(7, "abc", {})


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.int32])
def test_one_changed_bit_changes_the_sum(dtype):
    values = np.arange(12).astype(dtype)
    changed = values.copy()
    changed.view(f"uint{8 * values.itemsize}")[5] ^= 2
    assert int(bit_sum({"a": values})) != int(bit_sum({"a": changed}))


@pytest.mark.timeout(150)
def test_processes_with_different_configs_or_data_do_not_train(tiny_run, tmp_path: Path):
    (tmp_path / "tiny.yaml").write_text(tiny_run.yaml, encoding="utf-8")
    run = tmp_path / "run"
    command = [sys.executable, "-m", "hybrid_jax.train", "--config", str(tmp_path / "tiny.yaml"), "--workdir", str(run)]
    text = (tiny_run.folder.parent / "rows.jsonl").read_text(encoding="utf-8")
    (tmp_path / "rows.jsonl").write_text(text.replace("river town?", "river town, please?", 1), encoding="utf-8")
    cases = {
        "batch_size is 16 in process 1 on .*, and 8 in process 0": ({}, ["--batch_size", "16"]),
        "tiny is .* in process 1 .*: give all the same files": ({"TINY_ROWS": str(tmp_path)}, []),
    }
    for pattern, (environment, arguments) in cases.items():
        with two_processes([command, [*command, *arguments]], [{}, environment]) as processes:
            for process in processes:
                said, _ = process.communicate(timeout=60)
                assert process.returncode == 1, said
                assert re.search(f"error: .*before the first step the processes differ: .*{pattern}", said), said
    assert not (run / "run.json").exists()


ANOTHER_BATCH = """
import sys
from dataclasses import replace
from hybrid_jax.data.pipeline import Pipeline
from hybrid_jax.train.__main__ import main
batch, heldout_batch = Pipeline.batch, Pipeline.heldout_batch
def wrong(self, step):
    read = batch(self, step + (step == 15))
    return replace(read, plan=replace(read.plan, step=step))
calls = []
def wrong_held_out(self, step):  # two are measured every 10 steps
    calls.append(step)
    return heldout_batch(self, step + (len(calls) == 3))
if sys.argv.pop(1) == "training":
    Pipeline.batch = wrong
else:
    Pipeline.heldout_batch = wrong_held_out
sys.exit(main())
"""


@pytest.mark.timeout(150)
@pytest.mark.parametrize("which", ["training", "held-out"])
def test_a_process_that_reads_another_batch_on_the_way_ends_the_run_before_it_is_saved(
    which: str, tiny_run, tmp_path: Path
):
    (tmp_path / "tiny.yaml").write_text(tiny_run.yaml, encoding="utf-8")
    run = tmp_path / "run"
    options = ["--config", str(tmp_path / "tiny.yaml"), "--workdir", str(run), "--checkpoint.every", "10"]
    programs = ["-m", "hybrid_jax.train"], ["-c", ANOTHER_BATCH, which]
    with two_processes([[sys.executable, *program, *options] for program in programs]) as processes:
        for process in processes:
            said, _ = process.communicate(timeout=100)
            assert process.returncode == 1, said
            assert re.search(r"error: .*after step 20 the processes differ: the digest of the batches is", said), said
    assert steps(run / "checkpoints") == [10]


@pytest.mark.timeout(150)
def test_processes_that_see_other_checkpoints_do_not_train(tiny_run, tmp_path: Path):
    """As where a disk is not mounted on one of the hosts: none of the checkpoints is called damaged."""
    run = shutil.copytree(tiny_run.folder, tmp_path / "run")
    other = shutil.copytree(run, tmp_path / "other")
    there = steps(run / "checkpoints")
    shutil.rmtree(other / "checkpoints" / str(there[-1]))
    (tmp_path / "tiny.yaml").write_text(tiny_run.yaml, encoding="utf-8")
    command = [sys.executable, "-m", "hybrid_jax.train", "--config", str(tmp_path / "tiny.yaml"), "--workdir"]
    with two_processes([[*command, str(run)], [*command, str(other)]]) as processes:
        for process in processes:
            said, _ = process.communicate(timeout=100)
            assert process.returncode == 1, said
            (last,) = [line for line in said.splitlines() if line.startswith("error: ")]
            assert re.search(rf"the processes differ: its checkpoints is \[{there[0]}", last), said
            assert "damaged" not in said
            assert last.endswith("give all the same folder, on a disk that they share")
    assert steps(run / "checkpoints") == there


if __name__ == "__main__":
    worker()
