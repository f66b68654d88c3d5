"""The embed command: a corpus becomes a store, a killed one is finished byte for byte, mistakes are one line."""

import gzip
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import hybrid_jax
from hybrid_jax.embed import corpus as embed
from hybrid_jax.embed.store import EmbeddingStore

COMMAND = [sys.executable, "-c", "import sys; from hybrid_jax.embed.corpus import main; sys.exit(main(sys.argv[1:]))"]
ROWS = [
    {"_id": "a", "title": "Haus", "text": "river town"},
    {"docid": "b#1", "text": "árbol ciudad"},
    {"id": 7, "title": "", "text": ""},
    {"_id": "d", "title": None, "text": "tree", "extra": [1]},
]


@pytest.fixture(autouse=True)
def usual_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "keep_freed_memory", lambda: None)  # it is for a whole process


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
        assert embed.main([*common, "--out", str(tmp_path / side), "--side", side]) == 0
        store = EmbeddingStore(tmp_path / side)
        assert store.ids() == ["a", "b#1", "7", "d"]
        np.testing.assert_array_equal(np.concatenate(list(store.blocks())), encode(texts))
    assert "4 rows of 16 numbers" in capsys.readouterr().out
    assert store.manifest.facts["step"] == 80

    assert embed.main([*common, "--out", str(tmp_path / "small"), "--dtype", "int8", "--rows-per-shard", "3"]) == 0
    told = capsys.readouterr().out
    assert "1 shards, 3 rows" in told
    assert "int8 against float32, 3 rows searched among 3: scores differ by at most 0.0" in told

    def refused(*arguments: str) -> str:
        assert embed.main([*common, *arguments]) == 1
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
    assert f'{corpus[0]}:1: "text" is None, expected a string' in refused("--out", str(tmp_path / "new2"))
    assert "--rows-per-shard 0" in refused("--out", str(tmp_path / "new"), "--rows-per-shard", "0")


@pytest.mark.timeout(400)
def test_a_killed_command_is_finished_byte_for_byte(tiny_run, tmp_path: Path):
    rows = [{"_id": str(number), "text": f"tree {number} Fluss"} for number in range(1500)]
    corpus = write_corpus(tmp_path / "corpus.jsonl", rows)
    settings = ["--ckpt", str(tiny_run.folder), "--corpus", str(corpus), "--rows-per-shard", "8", "--dtype", "float16"]

    def command(out: Path) -> list[str]:
        return [*COMMAND, *settings, "--out", str(out)]

    killed, manifest = tmp_path / "killed", tmp_path / "killed" / "manifest.json"
    process = subprocess.Popen(command(killed), stdout=subprocess.DEVNULL)
    try:
        while not (manifest.exists() and len(json.loads(manifest.read_text())["shards"]) > 2):
            assert process.poll() is None
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait()
    begun = json.loads(manifest.read_text())
    assert not begun["complete"]
    assert 2 < len(begun["shards"]) < 188

    done = subprocess.run(command(killed), capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{len(begun['shards']) + 1} shards, ")
    assert embed.main([*settings, "--out", str(tmp_path / "whole")]) == 0
    assert len(files(killed)) == 1 + 2 * 188
    assert files(killed) == files(tmp_path / "whole")
