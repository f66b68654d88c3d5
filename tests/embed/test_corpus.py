"""The embed command: a corpus becomes a store, one that stopped is finished, mistakes are told in one line."""

import errno
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import numpy as np
import pytest

import hybrid_jax
from hybrid_jax.embed import corpus as command
from hybrid_jax.embed.store import EmbeddingStore

ROWS = [
    {"_id": "a", "title": "Haus", "text": "river town"},
    {"docid": "b#1", "text": "árbol ciudad"},
    {"id": 7, "title": "", "text": ""},
    {"_id": "d", "title": None, "text": "tree", "extra": [1]},
]


AS_FROM_A_TERMINAL = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("hybrid_jax.eval", run_name="__main__", alter_sys=True)
"""
"""The evaluation, to which Ctrl-C means something where the tests run in the background, too, and it is ignored."""


@pytest.fixture(autouse=True)
def usual_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "keep_freed_memory", lambda: None)  # it would change the whole test process


def write_corpus(path: Path, rows: list[dict]) -> Path:
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_corpus_becomes_a_store(tiny_run, tmp_path: Path, capsys):
    corpus = [write_corpus(tmp_path / "one.jsonl", ROWS[:3]), write_corpus(tmp_path / "two.jsonl.gz", ROWS[3:])]
    common = ["--ckpt", str(tiny_run.folder), "--corpus", *map(str, corpus)]
    encoder, texts = hybrid_jax.load(tiny_run.folder), ["Haus river town", "árbol ciudad", "", "tree"]
    for side, encode in (("passages", encoder.encode_passages), ("queries", encoder.encode_queries)):
        assert command.main([*common, "--out", str(tmp_path / side), "--side", side]) == 0
        store = EmbeddingStore(tmp_path / side)
        assert store.ids() == ["a", "b#1", "7", "d"]
        np.testing.assert_array_equal(np.concatenate(list(store.blocks())), encode(texts))
    assert "4 rows of 16 numbers" in capsys.readouterr().out
    assert store.manifest.facts["step"] == 80

    assert command.main([*common, "--out", str(tmp_path / "small"), "--dtype", "int8", "--rows-per-shard", "3"]) == 0
    printed = capsys.readouterr().out
    assert "1 shards, 3 rows" in printed
    assert "int8 against float32, 3 rows searched among 3: scores differ by at most 0.0" in printed

    def refused(*arguments: str) -> str:
        assert command.main([*common, *arguments]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        return line

    small = ["--out", str(tmp_path / "small"), "--dtype", "int8", "--rows-per-shard", "3"]
    assert "was begun with model.parameters_sha256 '" in refused(*small, "--step", "60")
    assert "was begun with model.texts.max_passage_length 16 instead of 8" in refused(*small, "--max-length", "8")
    write_corpus(corpus[0], [ROWS[1], ROWS[0], ROWS[2]])
    assert "shard 00000 was made from other texts" in refused(*small)
    corpus[0].write_text('{"_id": "a", "text": "good"}\n{"title": "no id", "text": "x"}\n')
    assert f"{corpus[0]}:2: no id (one of _id, docid, id" in refused("--out", str(tmp_path / "new"))
    corpus[0].write_text('{"_id": "a", "contents": "x"}\n')
    assert f"{corpus[0]}:1: missing key 'text' (keys here: _id, contents), add it" in refused(
        "--out", str(tmp_path / "new2")
    )
    corpus[0].write_text('{"_id": 7, "text": "good"}\n{"docid": "7", "text": "good"}\n')
    told = refused("--out", str(tmp_path / "new3"))
    assert f"{corpus[0]}:2: document id '7' occurs a second time (first: {corpus[0]}:1)" in told
    assert not list(tmp_path.glob("new*"))  # nothing was encoded before the corpus was read
    assert "--rows-per-shard 0" in refused("--out", str(tmp_path / "new"), "--rows-per-shard", "0")


def test_a_command_that_stopped_goes_on_where_it_was(tiny_run, tmp_path: Path, capsys):
    """It stops at a full disk; with room made, it gives what an undisturbed command gives, byte for byte."""
    rows = [{"_id": str(number), "text": f"tree {number} Fluss"} for number in range(20)]
    corpus = write_corpus(tmp_path / "corpus.jsonl", rows)
    options = ["--ckpt", str(tiny_run.folder), "--corpus", str(corpus), "--rows-per-shard", "4", "--dtype", "float16"]
    writes = count()

    def until_full(handle: int) -> None:
        if next(writes) > 3 * 4:  # a manifest, then the vectors, ids and manifest of each shard
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", until_full)
        assert command.main([*options, "--out", str(tmp_path / "stopped")]) == 1
    told = capsys.readouterr()
    assert told.out.splitlines()[-1].startswith("4 shards, 16 rows, ")
    assert "No space left on device" in told.err
    assert command.main([*options, "--out", str(tmp_path / "stopped")]) == 0
    assert capsys.readouterr().out.startswith("5 shards, 20 rows, ")
    assert command.main([*options, "--out", str(tmp_path / "undisturbed")]) == 0
    assert files(tmp_path / "stopped") == files(tmp_path / "undisturbed")
    capsys.readouterr()
    assert command.main([*options, "--out", str(tmp_path / "stopped")]) == 0
    assert "shards, " not in capsys.readouterr().out  # nothing was encoded


def test_ctrl_c_is_one_line_and_the_same_command_goes_on(tiny_run, tmp_path: Path):
    rows = [{"_id": str(number), "text": f"tree {number} Fluss"} for number in range(20_000)]
    corpus, out = write_corpus(tmp_path / "corpus.jsonl", rows), tmp_path / "store"
    command = [sys.executable, "-c", AS_FROM_A_TERMINAL, "embed", "--ckpt", str(tiny_run.folder), "--out", str(out)]
    command += ["--corpus", str(corpus), "--rows-per-shard", "64"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            while not list(out.glob("*.npy")) and process.poll() is None:
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, said.count("\n")) == (130, 1), said
    assert said == "stopped; the same command goes on with the shard that it was at\n"
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    assert len(EmbeddingStore(out)) == 20_000
