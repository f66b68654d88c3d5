"""TensorBoard's file: the bytes that tensorboardX writes."""

from pathlib import Path

import pytest

from hybrid_jax.runs.board import Board


def test_the_file_is_the_one_that_tensorboardx_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
    from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

    monkeypatch.setattr("time.time", lambda: 1764331234.5)
    steps = {1: {"loss": 6.25, "loss/monolingual": -0.1}, 300_000: {f"größe_{i}": i / 3 for i in range(40)}, 2: {}}
    board, theirs = Board(tmp_path / "board"), EventsWriter(str(tmp_path / "events"))
    for step, numbers in steps.items():
        board.write(step, numbers)
        values = [Summary.Value(tag=name, simple_value=number) for name, number in numbers.items()]
        theirs.write_event(Event(wall_time=1764331234.5, step=step, summary=Summary(value=values)))
    board.close()
    theirs.close()
    (own,), (other,) = (tmp_path / "board").iterdir(), tmp_path.glob("events*")
    assert own.name == other.name
    assert own.read_bytes() == other.read_bytes()


def test_what_was_flushed_can_be_read_while_the_run_goes_on(tmp_path: Path):
    board = Board(tmp_path / "board")
    (path,) = (tmp_path / "board").iterdir()
    before = path.stat().st_size
    board.write(0, {"loss": 1.0})
    board.flush()
    assert path.stat().st_size > before > 0
    board.close()
