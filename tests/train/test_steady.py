"""A run after its first steps compiles nothing, waits for no step before the next is given, and does not grow."""

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import pytest

from hybrid_jax.config import dump_config, parse_config
from hybrid_jax.train import loop
from hybrid_jax.train.loop import train

WARM = 24
"""Steps after which held-out loss, log and checkpoint have all occurred once."""


def test_after_warm_up_nothing_is_compiled_and_no_step_is_waited_for(
    tiny_run, tmp_path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    config = parse_config(tiny_run.yaml)
    events: list[tuple[str, int]] = []
    compiled_by: list[int] = []  # how many programs were compiled before each step's call
    shapes: list[tuple[int, ...]] = []
    waited: list[int] = []  # before which steps all devices were waited for
    make_train_step, numbers = loop.make_train_step, loop._numbers

    def make(*arguments: Any) -> Any:
        step = make_train_step(*arguments)

        def spied(state: Any, batch: Any) -> Any:
            compiled_by.append(sum("Compiling jit" in line for line in caplog.messages))
            shapes.append(batch.sides[0].tokens.shape)
            seen = shapes.count(shapes[-1]) > 1  # else the step is compiled in this call
            with jax.transfer_guard("disallow" if seen else "allow"):  # an implicit copy is an error
                state, metrics = step(state, batch)
            events.append(("given", len(shapes) - 1))
            return state, {**metrics, "number": len(shapes) - 1}

        return spied

    def read(metrics: dict[str, Any]) -> dict[str, float]:
        number = metrics.pop("number")
        events.append(("read", number))
        return {**numbers(metrics)}

    monkeypatch.setattr(loop, "make_train_step", make)
    monkeypatch.setattr(jax, "block_until_ready", lambda state: waited.append(len(shapes)))
    monkeypatch.setattr(loop, "_numbers", lambda metrics: read(dict(metrics)))
    with jax.log_compiles(), caplog.at_level("WARNING", logger="jax"):
        train(config, tmp_path / "run")

    assert len(shapes) == config.steps
    new = [n for n, shape in enumerate(shapes) if shape not in shapes[:n]]
    assert 1 <= len(new) <= 3
    assert waited == new  # the compiler's memory does not come on top of that of a running step
    settled = max(WARM, new[-1] + 1)
    assert settled < config.steps - 10
    assert compiled_by[0] > 0  # the log is read
    assert compiled_by[settled:] == [compiled_by[settled]] * (config.steps - settled)

    for number in range(1, config.steps - 1):
        if (number + 1) % config.checkpoint.every:  # a step is logged before its checkpoint is written
            assert events.index(("given", number + 1)) < events.index(("read", number))


def test_the_step_calls_nothing_on_the_host(model_config, rows):
    from support.packing import packed

    from hybrid_jax.runtime.mesh import MeshConfig, make_mesh, put_batch
    from hybrid_jax.train.encode import make_encode
    from hybrid_jax.train.loss import LossConfig
    from hybrid_jax.train.objective import make_objective
    from hybrid_jax.train.optim import OptimizerConfig, make_optimizer, make_schedule
    from hybrid_jax.train.state import create_state
    from hybrid_jax.train.step import make_train_step

    optim, mesh = OptimizerConfig(lazy_embeddings=True), make_mesh(MeshConfig(data=2))
    optimizer, schedule = make_optimizer(optim, 200), make_schedule(optim, 200)
    encode, objective = make_encode(model_config, mesh), make_objective(LossConfig(), mesh)
    step = make_train_step(encode, objective, optimizer, schedule, 0, mesh)
    batch = put_batch(mesh, packed(rows, 14, 4, devices=2, microbatch_rows=4))
    lowered = step.lower(create_state(model_config, optimizer, 0, mesh), batch)  # pyright: ignore[reportFunctionMemberAccess]
    assert "stablehlo" in lowered.as_text()
    assert not re.findall(r"callback|infeed|outfeed|stablehlo\.(?:send|recv)", lowered.as_text())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow(tiny_run, tmp_path: Path):
    """2,000 steps: resident memory at the end is that after 500, but for what the allocator rounds."""
    config = parse_config(tiny_run.yaml)
    config = config.model_copy(
        update={
            "steps": 2000,
            "heldout_every": 0,
            "log_every": 500,
            "data": config.data.model_copy(update={"heldout_pool": 0}),
            "mesh": config.mesh.model_copy(update={"data": 1}),
            "checkpoint": config.checkpoint.model_copy(update={"every": 2000, "best_metric": "loss"}),
        }
    )
    (tmp_path / "tiny.yaml").write_text(dump_config(config), encoding="utf-8")
    arguments = ["--config", str(tmp_path / "tiny.yaml"), "--workdir", str(tmp_path / "run")]
    log, resident = tmp_path / "run" / "metrics.jsonl", {}
    with (tmp_path / "out").open("w") as out:
        process = subprocess.Popen([sys.executable, "-m", "hybrid_jax.train", *arguments], stdout=out, stderr=out)
        while process.poll() is None:
            done = log.read_bytes().count(b"\n") if log.exists() else 0
            status = Path(f"/proc/{process.pid}/status").read_text()
            if done < config.steps and (size := re.search(r"VmRSS:\s+(\d+) kB", status)):
                resident[done] = int(size[1]) / 1024
            time.sleep(0.02)
    assert process.returncode == 0, (tmp_path / "out").read_text()[-1000:]
    early = max(mib for done, mib in resident.items() if 400 <= done <= 600)
    late = min(mib for done, mib in resident.items() if done >= 1800)
    assert late - early < 16, f"{early:.0f} MiB after about 500 steps, {late:.0f} at the end"
