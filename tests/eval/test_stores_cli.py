"""Evaluation with kept embeddings: killed and resumed in real processes, reused, and never searched when damaged."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hybrid_jax.eval import __main__ as cli

WORDS = ("river", "town", "Haus", "Baum", "árbol", "casa")
COUNT, ROWS_PER_SHARD = 1500, 8


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BEIR folder; every query has one relevant document among many that share its words."""
    folder = tmp_path_factory.mktemp("stores") / "pool"
    (folder / "qrels").mkdir(parents=True)
    corpus = [{"_id": f"d{n}", "title": "", "text": f"{WORDS[n % 6]} {WORDS[n // 6 % 6]} {n}"} for n in range(COUNT)]
    queries = [{"_id": f"q{n}", "text": row["text"], "lang": "en"} for n, row in enumerate(corpus[::100])]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    judged = [f"q{n}\td{100 * n}\t1" for n in range(len(queries))]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]))
    return folder


def arguments(run: Path, pool: Path, out: Path, *more: str) -> list[str]:
    return ["--ckpt", str(run), "--tasks", f"beir:{pool}", "--out", str(out), *more]


def searched(out: Path) -> dict:
    (found,) = json.loads((out / "report.json").read_text(encoding="utf-8"))["searches"].values()
    return found


def evaluate(monkeypatch: pytest.MonkeyPatch, *asked: str) -> int:
    monkeypatch.setattr(cli, "keep_freed_memory", lambda: None)  # it is for a whole process
    monkeypatch.setattr(sys, "argv", ["eval", *asked])
    return cli.main()


@pytest.mark.timeout(400)
def test_a_killed_evaluation_goes_on_and_a_second_one_encodes_nothing(
    tiny_run, pool: Path, tmp_path: Path, monkeypatch
):
    stores, out = tmp_path / "stores", tmp_path / "out"
    keep = ["--stores", str(stores), "--rows-per-shard", str(ROWS_PER_SHARD)]
    asked = arguments(tiny_run.folder, pool, out, *keep)
    command, manifest = [sys.executable, "-m", "hybrid_jax.eval", *asked], stores / "pool" / "manifest.json"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while not (manifest.exists() and len(json.loads(manifest.read_text())["shards"]) > 2):
            assert process.poll() is None
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait()
    begun = len(json.loads(manifest.read_text())["shards"])
    shards = -(-COUNT // ROWS_PER_SHARD)
    assert 2 < begun < shards
    assert not out.exists()

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    assert f"pool: {shards - begun} of {shards} shards were encoded, {begun} were in {stores / 'pool'}" in done.stdout
    assert evaluate(monkeypatch, *arguments(tiny_run.folder, pool, tmp_path / "memory")) == 0
    assert searched(out) == searched(tmp_path / "memory")

    again = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert again.returncode == 0, again.stderr
    assert f"pool: 0 of {shards} shards were encoded" in again.stdout
    assert searched(out) == searched(tmp_path / "memory")


def test_what_is_kept_is_checked(tiny_run, pool: Path, tmp_path: Path, monkeypatch, capsys):
    stores = tmp_path / "stores"

    def run(*more: str) -> int:
        keep = ["--stores", str(stores), "--store-dtype", "float16", "--rows-per-shard", "600"]
        return evaluate(monkeypatch, *arguments(tiny_run.folder, pool, tmp_path / "out", *keep, *more))

    assert run() == 0
    first = searched(tmp_path / "out")
    assert "; embeddings kept as float16: scores differ by up to " in first["about"]
    capsys.readouterr()

    shard = stores / "pool" / "00001.npy"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert run() == 0
    assert "pool: 1 of 3 shards were encoded, 2 were in" in capsys.readouterr().out
    assert shard.read_bytes() == whole
    assert searched(tmp_path / "out") == first

    assert run("--step", "60") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {stores / 'pool'} was begun with model.parameters_sha256 '")
    assert line.endswith("use the same to resume it, or another folder")
