"""`microbatch_rows: auto`: the fewest chunks that fit into memory, chosen before the first step and kept by the run."""

import os
import re
import shutil
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.processes import two_processes
from support.runs import assert_equal_runs, log_of

from hybrid_jax.config import Config, ConfigError, dump_config, parse_config
from hybrid_jax.runtime.mesh import MeshConfig
from hybrid_jax.runtime.processes import start_distributed
from hybrid_jax.train.loop import train
from hybrid_jax.train.microbatch import MARGIN, Choice, DoesNotFitError, Need, as_begun, choose
from hybrid_jax.train.plan import plan

CHOSEN = r"microbatch_rows (\S+) \(auto\): .* needs (\S+) KiB of \S+ KiB on each device"
NARROW = 600_000
"""Bytes that hold 2 of the 12 rows of a step of `config` at a time, but not 4."""
HELD, FIXED, ROW = 1000, 300, 10
"""Bytes of a made-up step: parameters, gradients, and the activations of a row."""


@pytest.fixture(scope="module")
def config(tiny_run) -> Config:
    """Eight steps of 24 pairs, 12 rows, on one device."""
    config = parse_config(tiny_run.yaml)
    return config.model_copy(
        update={
            "steps": 8,
            "batch_size": 24,
            "microbatch_rows": "auto",
            "mesh": MeshConfig(data=1),
            "data": config.data.model_copy(update={"heldout_fraction": 0.0, "heldout_pool": 0}),
            "heldout_every": 0,
            "checkpoint": config.checkpoint.model_copy(update={"every": 4, "best_metric": "loss"}),
        }
    )


def have(memory: int, monkeypatch: pytest.MonkeyPatch | None = None) -> None:
    """From now on this machine says that it has so many bytes."""
    answers = {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": memory}
    asked = os.sysconf
    (monkeypatch or pytest.MonkeyPatch()).setattr(os, "sysconf", lambda name: answers.get(name) or asked(name))


def said(config: Config, memory: int) -> str:
    lines: list[str] = []
    plan(config, False, lines.append, memory)
    return "\n".join(lines)


def need_of(config: Config, rows: int | None) -> float:
    """KiB of the largest program of a run, as `train plan` says."""
    text = said(config.model_copy(update={"microbatch_rows": rows}), 2**30)
    largest = re.search(r"^fits: (\S+) (KiB|MiB) of", text, re.MULTILINE)
    assert largest is not None
    return float(largest[1]) * {"KiB": 1, "MiB": 1024}[largest[2]]


@given(most=st.integers(1, 2000), devices=st.sampled_from([1, 2, 8]), memory=st.integers(1500, 30_000))
def test_what_is_chosen_fits_and_twice_as_much_does_not(most: int, devices: int, memory: int):
    most = devices * -(-most // devices)
    compiled: list[int | None] = []

    def step(rows: int | None) -> Need:
        compiled.append(rows)
        return Need(HELD, FIXED + ROW * (most if rows is None else rows) // devices)

    choice = choose(step, most, devices, memory)
    budget = (1 - MARGIN) * memory
    if choice.rows is None:
        assert choice.need.all <= budget
        assert compiled == [None]
        return
    assert choice.rows % devices == 0
    assert choice.need == step(choice.rows)
    assert choice.need.all <= (budget if choice.rows > devices else memory)
    assert step(2 * choice.rows).all > budget or 2 * choice.rows > most
    assert choice.whole is not None
    assert choice.whole.all > budget


def test_few_programs_are_compiled():
    compiled: list[int | None] = []

    def step(rows: int | None) -> Need:
        compiled.append(rows)
        return Need(HELD, FIXED + ROW * (1000 if rows is None else rows))

    # Of 4,000 bytes 3,600 are given away, 2,600 of them to what is temporary: a fourth of 10,300, so that four chunks
    # would do if gradients shrank with them. These need 300 + 2,500, so that five do.
    choice = choose(step, 1000, 1, 4000)
    assert (choice, compiled) == (Choice(200, Need(1000, 2300), Need(1000, 10_300)), [None, 250, 200])


def test_what_the_compiler_refuses_does_not_fit():
    choice = choose(lambda rows: Need(10, 20) if rows == 16 else None, 64, 8, 100)
    assert choice == Choice(16, Need(10, 20), None)
    with pytest.raises(DoesNotFitError) as refused:
        choose(lambda rows: None, 64, 8, 100)
    assert refused.value.need is None


def test_a_row_on_each_device_may_use_the_margin():
    def step(rows: int | None) -> Need:
        return Need(90, 64 if rows is None else rows)

    assert choose(step, 64, 8, 98).rows == 8
    with pytest.raises(DoesNotFitError):
        choose(step, 64, 8, 97)


def test_the_plan_takes_the_whole_batch_where_it_fits_and_else_the_chunks_that_do(config: Config):
    assert re.search(r"^microbatch_rows null \(auto\): the whole batch at once needs 2\.\d MiB", said(config, 2**30))
    chosen = re.search(CHOSEN, said(config, NARROW))
    assert chosen is not None
    rows, needed = int(chosen[1]), float(chosen[2])
    assert (rows, needed) == (2, need_of(config, rows))
    assert needed * 1024 <= (1 - MARGIN) * NARROW < need_of(config, 2 * rows) * 1024


def test_where_no_row_fits_the_run_is_refused(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    message = r"even with one row at a time on each device a step needs 27\d\.\d KiB on each device, which has 195\.3 K"
    with pytest.raises(ConfigError, match=message):
        said(config, 200_000)
    have(200_000, monkeypatch)
    with pytest.raises(ConfigError, match=message):
        train(config, tmp_path / "run")
    assert parse_config((tmp_path / "run" / "config.yaml").read_text()).microbatch_rows == "auto"  # nothing is settled
    assert as_begun("auto", tmp_path / "run") == "auto"


def test_a_run_keeps_what_it_has_chosen(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog
):
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    have(NARROW, monkeypatch)
    with jax.log_compiles(), caplog.at_level("WARNING", logger="jax"):
        assert train(config, whole)
    printed = capsys.readouterr().out
    assert len(re.findall(CHOSEN, printed)) == 1
    assert "6 x 2 a step" in printed
    written = parse_config((whole / "config.yaml").read_text())
    assert written == config.model_copy(update={"microbatch_rows": 2})
    compiled = [line for line in caplog.messages if line.startswith("Compiling jit(train_step)")]
    assert len(compiled) == 1 + printed.count(" x 2")  # the whole batch, and each program of the run once

    shutil.copytree(whole, resumed)
    shutil.rmtree(resumed / "checkpoints" / "8")
    lines = (resumed / "metrics.jsonl").read_text().splitlines(keepends=True)
    (resumed / "metrics.jsonl").write_text("".join(lines[:6]))
    have(2**30, monkeypatch)
    assert train(config, resumed)
    assert "(auto)" not in capsys.readouterr().out
    assert_equal_runs(resumed, whole, written)

    assert train(config, tmp_path / "at_once")
    assert parse_config((tmp_path / "at_once" / "config.yaml").read_text()).microbatch_rows is None
    losses = [[line["loss"] for line in log_of(run)] for run in (whole, tmp_path / "at_once")]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)

    # More devices than rows at a time: each has one.
    assert train(config.model_copy(update={"mesh": MeshConfig(data=4)}), resumed)


def test_a_start_that_failed_settles_nothing(config: Config, tmp_path: Path):
    (tmp_path / "config.yaml").write_text(dump_config(config.model_copy(update={"microbatch_rows": 16})))
    assert as_begun("auto", tmp_path) == "auto"
    (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n')
    assert as_begun("auto", tmp_path) == 16
    assert as_begun(4, tmp_path) == 4
    assert as_begun(None, tmp_path) is None


@pytest.mark.parametrize("text", ["[", "seed: 3", "microbatch_rows: many", "\x00"])
def test_a_damaged_config_is_left_to_what_refuses_it(text: str, tmp_path: Path):
    (tmp_path / "config.yaml").write_text(text)
    (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n')
    assert as_begun("auto", tmp_path) == "auto"


def worker(folder: Path, number: int) -> None:
    """One of two processes with a device each; the first says that it has plenty of memory."""
    start_distributed()
    have([2**30, 2 * NARROW][number])  # of the machine that both share
    train(parse_config((folder / "tiny.yaml").read_text()), folder / "run")
    jax.distributed.shutdown()


@pytest.mark.timeout(240)
def test_processes_go_by_the_one_with_the_least_memory(config: Config, tmp_path: Path):
    optimizer = config.optimizer.model_copy(update={"warmup_steps": 1})
    two = config.model_copy(update={"mesh": MeshConfig(data=2), "steps": 2, "optimizer": optimizer})
    (tmp_path / "tiny.yaml").write_text(dump_config(two), encoding="utf-8")
    printed = []
    with two_processes([[sys.executable, __file__, str(tmp_path), str(number)] for number in range(2)]) as processes:
        for process in processes:
            printed.append(process.communicate(timeout=200)[0])
            assert process.returncode == 0, printed[-1]
    assert re.search(CHOSEN, printed[0])
    assert "(auto)" not in printed[1]
    rows = parse_config((tmp_path / "run" / "config.yaml").read_text()).microbatch_rows
    assert isinstance(rows, int)
    assert rows < 12


if __name__ == "__main__":
    worker(Path(sys.argv[1]), int(sys.argv[2]))
