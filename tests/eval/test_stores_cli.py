"""Evaluation with kept embeddings (--stores): equal to one without, reused, and never searched when damaged."""

import json
import sys
from pathlib import Path

import pytest

from hybrid_jax.eval import __main__ as cli

WORDS = ["Haus", "Baum", "Fluss", "Stadt", "Berg", "house", "tree", "river", "town", "hill", "casa", "árbol", "río"]
TEXTS = [f"{first} {second}" for first in WORDS for second in WORDS][:150]
"""All different: the last bits of a vector depend on the batch, which could order equal texts in another way."""


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BEIR folder; every query has one relevant document among others that share its words."""
    folder = tmp_path_factory.mktemp("stores") / "pool"
    (folder / "qrels").mkdir(parents=True)
    corpus = [{"_id": f"d{n}", "title": "", "text": text} for n, text in enumerate(TEXTS)]
    queries = [{"_id": f"q{n}", "text": row["text"], "lang": "en"} for n, row in enumerate(corpus[::10])]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    judged = [f"q{n}\td{10 * n}\t1" for n in range(len(queries))]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]))
    return folder


@pytest.fixture
def evaluate(tiny_run, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """evaluate(option, ...) runs the command, writing to `tmp_path / "out"`, and returns its exit status."""
    monkeypatch.setattr(cli, "keep_freed_memory", lambda: None)  # it would change the whole test process

    def run(*options: str) -> int:
        common = ["--ckpt", str(tiny_run.folder), "--tasks", f"beir:{pool}", "--out", str(tmp_path / "out")]
        monkeypatch.setattr(sys, "argv", ["eval", *common, *options])
        return cli.main()

    return run


def search_result(tmp_path: Path) -> dict:
    (result,) = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["searches"].values()
    return result


def test_a_store_changes_no_figure_and_a_second_evaluation_encodes_nothing(evaluate, tmp_path: Path, capsys):
    assert evaluate() == 0
    in_memory = search_result(tmp_path)
    for encoded in (3, 0):
        assert evaluate("--stores", str(tmp_path / "stores"), "--rows-per-shard", "60") == 0
        assert f"pool: {encoded} of 3 shards were encoded, {3 - encoded} were in" in capsys.readouterr().out
        assert search_result(tmp_path) == in_memory


def test_what_is_kept_is_checked(evaluate, tmp_path: Path, capsys):
    stores = tmp_path / "stores"
    options = ["--stores", str(stores), "--store-dtype", "float16", "--rows-per-shard", "60"]
    assert evaluate(*options) == 0
    first = search_result(tmp_path)
    assert "; embeddings kept as float16: scores differ by up to " in first["about"]
    capsys.readouterr()

    shard = stores / "pool" / "00001.npy"
    intact = shard.read_bytes()
    shard.write_bytes(intact[:-1] + bytes([intact[-1] ^ 1]))
    assert evaluate(*options) == 0
    assert "pool: 1 of 3 shards were encoded, 2 were in" in capsys.readouterr().out
    assert shard.read_bytes() == intact
    assert search_result(tmp_path) == first

    assert evaluate(*options, "--step", "60") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {stores / 'pool'} was begun with model.parameters_sha256 '")
    assert line.endswith("use the same to resume it, or another folder")
