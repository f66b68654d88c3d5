"""What a resumed run may change, what it notes of that, and which held-out values it must not mix."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybrid_jax.config import Config, flat, parse_config
from hybrid_jax.runs.workdir import WorkdirError, read_starts
from hybrid_jax.runtime.mesh import MeshConfig
from hybrid_jax.train.hooks import Hooks
from hybrid_jax.train.loop import train
from hybrid_jax.train.resumed import incomparable

BEGUN = flat(Config().model_dump(mode="json")) | {
    "heldout_every": 20,
    "heldout_batches": 8,
    "data.heldout_pool": 100,
    "checkpoint.best_metric": "heldout_loss",
}


@pytest.fixture
def copy(tiny_run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run.folder, tmp_path / "run"))


def _changed(config: Config, **checkpoint: Any) -> Config:
    return config.model_copy(update={"checkpoint": config.checkpoint.model_copy(update=checkpoint)})


def _cut(run: Path, steps: int) -> None:
    """As if the run was killed after so many steps, before its first checkpoint was complete."""
    for folder in (run / "checkpoints").glob("[!.]*"):
        shutil.rmtree(folder)
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(lines[:steps]))


def _enough(record: Any) -> None:
    raise RuntimeError("enough")


def test_a_run_that_needs_too_much_memory_is_resumed_with_fewer_rows_at_a_time(
    tiny_run, copy: Path, capsys: pytest.CaptureFixture
):
    *_, kept, last = sorted(int(folder.name) for folder in (copy / "checkpoints").glob("[!.]*"))
    shutil.rmtree(copy / "checkpoints" / str(last))
    before = [json.loads(line)["loss"] for line in (copy / "metrics.jsonl").read_text().splitlines()]
    fewer = {"microbatch_rows": 2, "mesh": MeshConfig(data=1)}
    assert train(parse_config(tiny_run.yaml).model_copy(update=fewer), copy)
    assert re.search(r"rows of \d+ tokens, .*\d x 2 a step", capsys.readouterr().out)
    after = [json.loads(line)["loss"] for line in (copy / "metrics.jsonl").read_text().splitlines()]
    assert after[:kept] == before[:kept]
    np.testing.assert_allclose(after[kept:], before[kept:], rtol=1e-4)
    assert read_starts(copy)[-1]["changed"] == {"microbatch_rows": 2, "mesh.data": 1}


def test_a_run_killed_before_its_first_checkpoint_is_resumed_with_more_frequent_ones(tiny_run, copy: Path):
    """The checkpoints of every 20 steps, not those of every 5, must be there or not."""
    config = parse_config(tiny_run.yaml)
    oftener = _changed(config, every=5)
    for again in (oftener, config, oftener):
        _cut(copy, 15)
        with pytest.raises(RuntimeError, match="enough"):
            train(again, copy, hooks=Hooks(on_step=_enough))
        shutil.copyfile(tiny_run.folder / "metrics.jsonl", copy / "metrics.jsonl")
    assert [start.get("changed") for start in read_starts(copy)] == [
        *(None, {"checkpoint.every": 5}, None, {"checkpoint.every": 5})
    ]
    _cut(copy, 41)
    with pytest.raises(WorkdirError, match="has 41 steps: is a disk not mounted"):
        train(oftener, copy)


@pytest.mark.parametrize(
    ("metric", "change", "line"),
    [
        ("heldout_loss", {"heldout_batches": 9}, "heldout_batches: 8 -> 9"),
        ("heldout_accuracy", {"heldout_batches": 9}, "heldout_batches: 8 -> 9"),
        ("heldout_map_multilingual", {"data.heldout_pool": 50}, "data.heldout_pool: 100 -> 50"),
        ("heldout_loss", {"data.heldout_pool": 50, "heldout_every": 10, "checkpoint.keep": 9}, None),
        ("heldout_map_multilingual", {"heldout_batches": 9}, None),
        ("loss", {"heldout_batches": 9, "data.heldout_pool": 50}, None),
    ],
)
def test_values_of_other_heldout_records_are_not_compared(metric: str, change: dict[str, Any], line: str | None):
    now = BEGUN | change | {"checkpoint.best_metric": metric}
    lines = list(incomparable([BEGUN], now))
    if line is None:
        assert lines == []
    else:
        name, value = line.partition(" -> ")[0].split(": ")
        reason = f"checkpoint.best_metric {metric} would compare values of both: type --{name} {value}"
        assert lines == [f"{line}, and {reason}"]


def test_what_was_not_measured_may_be_measured_on_any_records():
    pool = {"checkpoint.best_metric": "heldout_map_multilingual", "data.heldout_pool": 50}
    for unmeasured in ({"heldout_every": 0}, {"data.heldout_pool": 0}):
        assert list(incomparable([BEGUN | unmeasured], BEGUN | pool)) == []
    # what a start in between has measured counts
    starts = [BEGUN | {"data.heldout_pool": 0}, BEGUN | {"data.heldout_pool": 70}, BEGUN | {"data.heldout_pool": 50}]
    (line,) = incomparable(starts, BEGUN | pool)
    assert line.startswith("data.heldout_pool: 70 -> 50, ")


def test_other_heldout_batches_are_refused_unless_another_metric_decides(tiny_run, copy: Path, capsys):
    config = parse_config(tiny_run.yaml)
    more = config.model_copy(update={"heldout_batches": 3})
    before = (copy / "run.json").read_bytes()
    with pytest.raises(WorkdirError) as error:
        train(more, copy)
    assert str(error.value) == (
        f"{copy} holds a run with another config (heldout_batches: 2 -> 3, and checkpoint.best_metric heldout_loss "
        f"would compare values of both: type --heldout_batches 2): use the same config to resume it, or another "
        f"--workdir"
    )
    assert (copy / "run.json").read_bytes() == before
    train(_changed(more, best_metric="loss"), copy)
    assert f"{copy} is complete" in capsys.readouterr().out
    assert read_starts(copy)[-1]["changed"] == {"heldout_batches": 3, "checkpoint.best_metric": "loss"}
    with pytest.raises(WorkdirError, match=r"heldout_batches: 3 -> 2, and checkpoint\.best_metric heldout_loss would"):
        train(config, copy)


def test_a_damaged_run_json_is_named_as_before(tiny_run, copy: Path):
    (copy / "run.json").write_text(json.dumps({"data": {}, "starts": []}))
    with pytest.raises(WorkdirError, match=r"run\.json is damaged \(it is not what was written\): restore it, or rem"):
        train(parse_config(tiny_run.yaml), copy)
