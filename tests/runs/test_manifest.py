"""A bit that flips in any file of a checkpoint is noticed before anything is loaded, and the one before is taken."""

import random
import shutil
import threading
from pathlib import Path

import jax
import numpy as np
import pytest

from hybrid_jax.config import parse_config
from hybrid_jax.disk.files import sha256_of
from hybrid_jax.disk.manifest import NAME, Manifest, in_threads
from hybrid_jax.runs.checkpoint import Checkpoints, DamagedError, restore, steps
from hybrid_jax.runs.keeping import CheckpointConfig
from hybrid_jax.runs.manifest import WRITTEN_AT_COMMIT, find_damage
from hybrid_jax.runtime.mesh import make_mesh
from hybrid_jax.train.optim import make_optimizer
from hybrid_jax.train.state import TrainState, abstract_state


@pytest.fixture(scope="module")
def like(tiny_run) -> TrainState:
    config = parse_config(tiny_run.yaml)
    return abstract_state(config.model, make_optimizer(config.optimizer, config.steps), make_mesh(config.mesh))


@pytest.fixture
def folder(tiny_run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run.folder / "checkpoints", tmp_path / "checkpoints"))


def flip(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    bit = chance.randrange(8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def equal(one: TrainState, other: TrainState) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_flipped_bit_in_any_file_is_noticed(folder: Path, like: TrainState):
    chance = random.Random(14)
    before, last = steps(folder)[-2:]
    states = {step: restore(folder, like, pytest.fail, step)[1] for step in (before, last)}
    paths = [path for path in sorted((folder / str(last)).rglob("*")) if path.is_file()]
    assert len(paths) > 10
    for path in paths:
        name, content = str(path.relative_to(folder / str(last))), path.read_bytes()
        flip(path, chance)
        said: list[str] = []
        step, state = restore(folder, like, said.append)
        assert equal(state, states[step]), name
        if name not in WRITTEN_AT_COMMIT:  # which have no part of the state
            assert step == before, name
            (line,) = said
            assert line.startswith(f"{folder / str(last)} is damaged ("), line
            assert line.endswith("): taking the checkpoint before it"), line
            assert name in line or name == NAME, line
        path.write_bytes(content)
    name = str(paths[-1].relative_to(folder / str(last)))
    paths[-1].unlink()
    with pytest.raises(DamagedError, match=rf"{last} is damaged \({name} is not what was saved\): choose another step"):
        restore(folder, like, pytest.fail, last)


def test_a_manifest_lists_the_files_and_their_sha256(folder: Path):
    checkpoint = folder / str(steps(folder)[-1])
    manifest = Manifest.model_validate_json((checkpoint / NAME).read_bytes())
    present = {str(path.relative_to(checkpoint)) for path in checkpoint.rglob("*") if path.is_file()}
    assert manifest.files.keys() == present - {NAME} - WRITTEN_AT_COMMIT
    for name, entry in manifest.files.items():
        assert (entry.bytes, entry.sha256) == ((checkpoint / name).stat().st_size, sha256_of(checkpoint / name))
    assert find_damage(checkpoint) is None


def test_a_checkpoint_without_a_manifest_is_damaged(folder: Path, like: TrainState):
    before, last = steps(folder)[-2:]
    (folder / str(last) / NAME).unlink()
    said: list[str] = []
    assert restore(folder, like, said.append)[0] == before
    assert said == [f"{folder / str(last)} is damaged (it has no {NAME}): taking the checkpoint before it"]


def test_files_are_hashed_at_the_same_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    both = threading.Barrier(2, timeout=20)  # which only two threads together pass

    def function(name: str) -> str:
        both.wait()
        return name

    assert in_threads(function, ["b", "a", "c", "d"]) == ["b", "a", "c", "d"]


def test_a_manifest_that_cannot_be_written_leaves_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(folder: Path, without: set[str]) -> None:
        raise OSError(28, f"cannot write {folder}: No space left on device")

    monkeypatch.setattr("hybrid_jax.runs.checkpoint.write_manifest", full)
    with (
        pytest.raises(ValueError, match=r"cannot write a checkpoint .*No space left on device.*make room"),
        Checkpoints(tmp_path, CheckpointConfig(), 0) as checkpoints,
    ):
        checkpoints.save(1, {"number": jax.numpy.zeros(3)}, {"loss": 1.0})
    assert steps(tmp_path) == []
