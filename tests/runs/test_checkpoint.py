"""Checkpoints are restored unchanged on any mesh; damaged ones are passed over; the latest and the best are kept."""

import errno
import os
import shutil
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hybrid_jax.disk import reading
from hybrid_jax.runs import checkpoint
from hybrid_jax.runs.best import Best, keep_best, read_best
from hybrid_jax.runs.checkpoint import (
    CheckpointError,
    Checkpoints,
    DamagedError,
    restore,
    steps,
)
from hybrid_jax.runs.holding import drop, hold
from hybrid_jax.runs.keeping import BestMetric, CheckpointConfig
from hybrid_jax.runtime.mesh import MeshConfig, make_mesh, parameter_sharding

NUMBERS = np.arange(64, dtype=np.float32).reshape(8, 8)


def state(factor: float) -> dict:
    return {"matrix": jnp.asarray(NUMBERS * factor), "inner": {"step": jnp.asarray(3)}}


def like(data: int = 1, fsdp: int = 1) -> dict:
    mesh = make_mesh(MeshConfig(data=data, fsdp=fsdp))
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=parameter_sharding(mesh, leaf.shape)),
        state(1),
    )


def write(folder: Path, losses: dict[int, float], start: int = 0, **fields) -> None:
    with Checkpoints(folder, CheckpointConfig(**fields), start) as checkpoints:
        for step, loss in losses.items():
            checkpoints.save(step, state(step), {"loss": loss})


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    write(folder, {1: 0.1, 2: 0.3, 3: 0.2}, keep=3)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "checkpoints"))


@pytest.mark.parametrize(("data", "fsdp"), [(1, 1), (8, 1), (2, 4)])
def test_restored_on_any_mesh(original: Path, data: int, fsdp: int):
    step, found = restore(original, like(data, fsdp), pytest.fail)
    assert step == 3
    np.testing.assert_array_equal(found["matrix"], NUMBERS * 3)
    assert found["matrix"].sharding.is_equivalent_to(like(data, fsdp)["matrix"].sharding, 2)


def test_a_step_and_a_part_can_be_asked_for(original: Path):
    step, found = restore(original, {"matrix": like()["matrix"]}, pytest.fail, 2)
    assert (step, set(found)) == (2, {"matrix"})
    np.testing.assert_array_equal(found["matrix"], NUMBERS * 2)


@pytest.mark.parametrize(("metric", "kept"), [("loss", [1, 4, 5]), ("accuracy", [2, 4, 5])])
def test_the_latest_and_the_best_are_kept(tmp_path: Path, metric: BestMetric, kept: list[int]):
    with Checkpoints(tmp_path, CheckpointConfig(keep=2, best_metric=metric), 0) as checkpoints:
        for step, value in {1: 0.1, 2: 0.5, 3: 0.3, 4: 0.2, 5: 0.4}.items():
            checkpoints.save(step, state(step), {metric: value})
    assert steps(tmp_path) == kept


def test_the_best_metric_may_change(folder: Path):
    write(folder, {4: 0.5}, start=3, keep=1, best_metric="accuracy")
    assert steps(folder)[-1] == 4


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Orbax leaves a reader half-way
@pytest.mark.parametrize("part", ["metrics/metrics", "state/_METADATA", "state/manifest.ocdbt", "state/**/d/*"])
def test_a_damaged_checkpoint_is_passed_over_and_renamed(folder: Path, part: str):
    for path in (folder / "3").glob(part):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    said: list[str] = []
    step, found = restore(folder, like(), said.append)
    assert step == 2
    np.testing.assert_array_equal(found["matrix"], NUMBERS * 2)
    assert [line.split(" (")[0] for line in said] == [f"{folder / '3'} is damaged"]
    assert "\n" not in said[0]
    with pytest.raises(DamagedError, match=r"3 is damaged .*: choose another step of \[1, 2, 3\]"):
        restore(folder, like(), pytest.fail, 3)

    write(folder, {3: 0.2}, start=2, keep=3)
    assert (folder / "3.damaged").is_dir()
    np.testing.assert_array_equal(restore(folder, like(), pytest.fail)[1]["matrix"], NUMBERS * 3)


@pytest.mark.parametrize("part", ["manifest.json", "metrics/metrics"])
def test_a_checkpoint_that_cannot_be_read_for_now_is_not_taken_for_damaged(
    folder: Path, part: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reading, "PAUSES", ())
    opened = os.open

    def open_or_fail(path, *how, **more):
        if Path(path) == folder / "3" / part:
            raise OSError(errno.ESTALE, "Stale file handle")
        return opened(path, *how, **more)

    monkeypatch.setattr(os, "open", open_or_fail)
    with pytest.raises(
        CheckpointError, match=r"cannot be read .*Stale file handle.*; or move .*3 away, to take the checkpoint before"
    ):
        restore(folder, like(), print)
    monkeypatch.undo()
    assert steps(folder) == [1, 2, 3]


def test_arrays_that_cannot_be_loaded_for_now_are_not_taken_for_damaged(folder: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*arguments: object) -> None:
        raise ValueError("UNKNOWN: Error reading local file: Input/output error [source locations='…']\nmore")

    monkeypatch.setattr(checkpoint.ocp, "load", fail)
    with pytest.raises(CheckpointError, match=r"3 holds what was saved, but could not be loaded \(UNKNOWN: .* error"):
        restore(folder, like(), pytest.fail)
    monkeypatch.undo()
    assert restore(folder, like(), pytest.fail)[0] == 3


def test_nothing_is_saved_in_a_folder_that_was_deleted_or_replaced(tmp_path: Path):
    folder = tmp_path / "checkpoints"
    with Checkpoints(folder, CheckpointConfig(), 0) as checkpoints:
        checkpoints.save(1, state(1), {"loss": 0.1})
        until = time.monotonic() + 30
        while steps(folder) != [1] and time.monotonic() < until:
            time.sleep(0.05)
        copy = shutil.copytree(folder, tmp_path / "copy")  # the same folder, whatever its inode is
        folder.rename(tmp_path / "moved")
        for replace in (lambda: None, folder.mkdir):
            replace()
            with pytest.raises(CheckpointError, match="is gone or was replaced: nothing was saved at step 3"):
                checkpoints.save(3, state(3), {"loss": 0.1})
        folder.rmdir()
        Path(copy).rename(folder)
        checkpoints.save(3, state(3), {"loss": 0.1})
    assert 3 in steps(folder)


def test_an_unfinished_checkpoint_is_reported_and_removed(folder: Path):
    unfinished = (folder / "3").rename(folder / "3.orbax-checkpoint-tmp")
    said: list[str] = []
    assert restore(folder, like(), said.append)[0] == 2
    assert said == [f"{unfinished} was never finished: taking the last complete checkpoint"]
    write(folder, {3: 0.2}, start=2, keep=3)
    assert (steps(folder), unfinished.exists()) == ([1, 2, 3], False)


def test_nothing_usable_is_an_error(folder: Path, tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"no complete checkpoint .there is none"):
        restore(tmp_path / "nowhere", like(), pytest.fail)
    with pytest.raises(CheckpointError, match=r"no checkpoint of step 7; it has 1, 2, 3"):
        restore(folder, like(), pytest.fail, 7)
    for step in (1, 2, 3):
        (folder / str(step) / "metrics" / "metrics").unlink()
    with pytest.raises(CheckpointError, match=r"none of \[1, 2, 3\] is usable\): restore one of them"):
        restore(folder, like(), lambda line: None)


def test_another_architecture_is_named(original: Path):
    wider = {**like(), "matrix": jax.ShapeDtypeStruct((8, 16), jnp.float32), "more": like()["matrix"]}
    with pytest.raises(CheckpointError, match=r"matrix is \(8, 8\), not \(8, 16\); more is missing, not \(8, 8\)"):
        restore(original, wider, pytest.fail)


@pytest.mark.parametrize("links", [True, False])
def test_a_held_checkpoint_stays(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool):
    if not links:  # as on a file system that has none

        def refuse(*_: object) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    held = tmp_path / "held"
    assert hold(folder, 2, held)
    same = (folder / "2" / "metrics" / "metrics").samefile(held / "2" / "metrics" / "metrics")
    assert same is links
    write(folder, {4: 0.01}, start=3, keep=1)
    assert (steps(folder), steps(held)) == ([4], [2])
    np.testing.assert_array_equal(restore(held, like(), pytest.fail, 2)[1]["matrix"], NUMBERS * 2)
    assert hold(folder, 2, held)  # again, after a restart: it is there


def test_a_checkpoint_deleted_meanwhile_is_not_held(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Whichever file the run deletes first, after whichever of ours has been linked."""
    held, link = tmp_path / "held", os.link
    total = sum(path.is_file() for path in (folder / "2").rglob("*"))
    for at in range(total):
        shutil.rmtree(folder / "7", ignore_errors=True)
        shutil.copytree(folder / "2", folder / "7")
        done: list[object] = []

        def link_while_deleting(source: Path, target: Path, at: int = at, done: list = done) -> None:
            link(source, target)
            done.append(target)
            if len(done) == at + 1:
                next(path for path in sorted((folder / "7").rglob("*")) if path.is_file()).unlink()

        monkeypatch.setattr(os, "link", link_while_deleting)
        assert not hold(folder, 7, held)
        assert list(held.iterdir()) == []
    assert not hold(folder, 8, held)


def test_what_a_kill_left_of_holding_is_replaced(folder: Path, tmp_path: Path):
    held = tmp_path / "held"
    (held / "2.part" / "state").mkdir(parents=True)
    (held / "2.part" / "old").write_text("x")
    assert steps(held) == []
    assert hold(folder, 2, held)
    assert [path.name for path in held.iterdir()] == ["2"]
    assert not (held / "2" / "old").exists()


def test_only_the_best_is_kept_whenever_it_is_killed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    best, held = tmp_path / "best", tmp_path / "best" / "candidate"
    with pytest.raises(CheckpointError, match=r"has no best step: python -m hybrid_jax.eval watch .* finds"):
        read_best(best)
    first, second = (Best(step=step, metric="demo.rank_distance", value=-step) for step in (1, 3))
    hold(folder, 1, held)
    keep_best(best, held, first)
    for owner, broken in ((Path, "replace"), (shutil, "rmtree")):  # how the note is written, and the old one removed
        hold(folder, 3, held)

        def killed(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(owner, broken, killed)
            with pytest.raises(KeyboardInterrupt):
                keep_best(best, held, second)
        assert read_best(best) == (first if owner is Path else second)
        restore(best, like(), pytest.fail, read_best(best).step)
    keep_best(best, held, second)
    assert (steps(best), read_best(best)) == ([3], second)
    (best / "best.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"best.json is damaged: remove it"):
        read_best(best)


def test_what_a_kill_left_of_dropping_goes_with_the_next(folder: Path):
    (folder / "1.old" / "state").mkdir(parents=True)
    drop(folder, 1)
    assert sorted(path.name for path in folder.iterdir()) == [".trainer", "2", "3"]
