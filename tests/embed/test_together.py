"""Evaluation and `embed` by two real processes, by --distributed: the results of one process."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.processes import TESTS

TIMEOUT = 200


def two(words: list[str], folder: Path, lasting: tuple[int, int] = (0, 0)) -> list[str]:
    """Runs the command in two processes of one device, which share no folder but the data; what each has said."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    flags = "--xla_force_host_platform_device_count=1 --xla_backend_optimization_level=0"
    environment = {**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": str(TESTS.parent)}
    processes = []
    for number in range(2):
        (folder / str(number)).mkdir()
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "hybrid_jax.eval", *words, "--distributed", f"localhost:{port},2,{number}"],
                cwd=folder / str(number),
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    try:
        said = [process.communicate(timeout=TIMEOUT)[0] for process in processes]
        assert [process.returncode for process in processes] == list(lasting), said
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert not any((folder / "1").iterdir())  # only process 0 writes
    return ["".join(line for line in text.splitlines(True) if not line.startswith("[Gloo]")) for text in said]


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small pool in two languages."""
    folder = tmp_path_factory.mktemp("pool")
    (folder / "qrels").mkdir()
    texts = [(f"{lang}{n}", lang, f"{lang} text {n} {'word ' * (n % 7)}") for lang in ("en", "de") for n in range(40)]
    lines = [json.dumps({"_id": name, "lang": lang, "text": text}) for name, lang, text in texts]
    (folder / "corpus.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    queries = [json.dumps({"_id": f"q{name}", "lang": lang, "text": text[3:]}) for name, lang, text in texts]
    (folder / "queries.jsonl").write_text("\n".join(queries) + "\n", encoding="utf-8")
    qrels = "".join(
        f"q{lang}{n}\t{other}{n}\t1\n" for lang in ("en", "de") for other in ("en", "de") for n in range(40)
    )
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{qrels}", encoding="utf-8")
    return folder


@pytest.mark.timeout(TIMEOUT + 60)
def test_two_processes_evaluate_as_one_does(tiny_run, task: Path, tmp_path: Path):
    from hybrid_jax.api import evaluate
    from hybrid_jax.embed.load import load

    said = two(["--ckpt", str(tiny_run.folder), "--tasks", f"pooled:{task}", "--out", "out"], tmp_path)
    assert "evaluating" in said[0]
    assert said[1] == ""
    report = json.loads((tmp_path / "0" / "out" / "report.json").read_text())
    expected = evaluate(load(tiny_run.folder), f"pooled:{task}", say=lambda line: None)
    [name] = report["tasks"]
    for metric in ("map", "recall@10"):
        for setting, value in expected.tasks[name].means(metric).items():
            assert report["tasks"][name][metric][setting] == pytest.approx(value, abs=1e-9), (metric, setting)


@pytest.mark.timeout(TIMEOUT + 60)
def test_two_processes_embed_as_one_does(tiny_run, task: Path, tmp_path: Path):
    from hybrid_jax.embed.corpus import texts_of
    from hybrid_jax.embed.load import load
    from hybrid_jax.embed.store import EmbeddingStore

    corpus = task / "corpus.jsonl"
    words = ["embed", "--ckpt", str(tiny_run.folder), "--corpus", str(corpus), "--rows-per-shard", "30"]
    said = two([*words, "--out", "store"], tmp_path)
    assert "80 rows of 16 numbers" in said[0]
    assert said[1] == ""
    texts = [text for _, text in texts_of([corpus])]
    expected = load(tiny_run.folder).encode_passages(texts)
    vectors = np.concatenate(list(EmbeddingStore(tmp_path / "0" / "store").blocks()))
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


@pytest.mark.timeout(TIMEOUT + 60)
def test_what_is_wrong_in_process_0_ends_both(tiny_run, tmp_path: Path):
    said = two(["--ckpt", str(tiny_run.folder), "--tasks", "nothing"], tmp_path, lasting=(1, 1))
    assert said[0].startswith("error: no task 'nothing': choose from")
    assert said[1].splitlines()[-1].startswith("error: process 0 has ended (no task 'nothing'")
    assert said[1].rstrip().endswith(": start all again")
