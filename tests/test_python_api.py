"""From Python: docs/python.md as a user's script, and what it promises: the same results, one-line errors, resuming."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import hybrid_jax
from hybrid_jax.api import _config
from hybrid_jax.config import Config
from hybrid_jax.data.records import DataError
from hybrid_jax.model.dual_encoder import ModelConfig
from hybrid_jax.train.hooks import completed
from hybrid_jax.train.objective import Groups, Vectors

ROOT = Path(__file__).resolve().parents[1]


def script() -> str:
    """The code of the page, top to bottom."""
    return "\n".join(
        re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(encoding="utf-8"), re.S)
    )


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Where the page's script ran, and what it printed."""
    folder = tmp_path_factory.mktemp("script")
    (folder / "script.py").write_text(script(), encoding="utf-8")
    # One device, as a user has it: the tests' eight share two cores.
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    environment |= {"HOME": str(folder), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=folder, env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_the_page_is_a_script_that_runs(used: tuple[Path, str]):
    folder, told = used
    assert "Metrics(12 steps of step, kind, dataset" in told
    printed = "TextEncoder(words, step 12: bert, 16 dimensions, queries and passages of up to 32 and 32 tokens)"
    assert printed in told
    assert len(list((folder / ".cache" / "hybrid_jax" / "rows").iterdir())) == 1
    report = json.loads((folder / "runs" / "words" / "eval" / "report.json").read_text(encoding="utf-8"))
    assert str(report["tasks"]["demo"]["map"]) in told
    assert {path.name for path in (folder / "runs" / "words" / "eval").iterdir()} == {
        *("report.json", "report.md", "report.html", "per_query.npz")
    }


def test_what_nobody_set_in_a_config_is_the_pretrained_folders():
    minilm = ROOT / "tests" / "fixtures" / "pretrained" / "minilm"
    content: dict[str, Any] = {"steps": 20, "pretrained": str(minilm), "model": {"temperature": 0.1}}
    as_mapping, as_object = (_config(given, {}) for given in (content, Config.model_validate(content)))
    part_as_object = _config({**content, "model": ModelConfig(temperature=0.1)}, {})
    assert as_object == as_mapping == part_as_object
    assert as_object.data.tokenizer.path == str(minilm)
    assert _config(as_object, {}) == as_object
    assert _config(Config(steps=20), {}) == _config({"steps": 20}, {})


def test_numbers_of_numpy_are_numbers():
    own, of_numpy = {"steps": 20, "seed": 3}, {"steps": np.int64(20), "seed": np.array([3])[0]}
    rate = {"optimizer.learning_rate": np.float32(0.25), "optimizer.warmup_steps": np.int32(2)}
    expected = _config(own, {"optimizer.learning_rate": 0.25, "optimizer.warmup_steps": 2})
    assert _config(of_numpy, rate) == expected


def test_a_path_may_begin_with_the_home_folder(tiny_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.copytree(tiny_run.folder, tmp_path / "run")
    (tmp_path / "run.yaml").write_text(tiny_run.yaml, encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TINY_ROWS", str(tiny_run.folder.parent))
    monkeypatch.chdir(tmp_path)
    run = hybrid_jax.train("~/run.yaml", "~/run")  # complete: nothing is left to do
    assert run.folder == hybrid_jax.Run("~/run").folder == tmp_path / "run"
    encoder = run.encoder()
    with pytest.raises(DataError, match=re.escape(str(tmp_path / "nowhere"))):
        hybrid_jax.evaluate(encoder, "xquad_r", data_dir="~/nowhere")
    folder = tmp_path / "made"
    (folder / "qrels").mkdir(parents=True)
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "Haus?"}\n')
    (folder / "corpus.jsonl").write_text('{"_id": "a", "text": "Haus"}\n{"_id": "b", "text": "Baum"}\n')
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\ta\t1\n")
    run.evaluate(f"beir:{folder}", out="~/evaluation")
    assert (tmp_path / "evaluation" / "report.json").is_file()
    assert not (tmp_path / "~").exists()


def test_a_run_is_opened_and_is_the_commands(used: tuple[Path, str], monkeypatch: pytest.MonkeyPatch):
    folder, _ = used
    run = hybrid_jax.Run(folder / "runs" / "words")
    assert run.config.steps == len(run.metrics) == 12
    lines = (run.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [row["loss"] for row in run.metrics] == [json.loads(line)["loss"] for line in lines]
    np.testing.assert_array_equal(run.metrics["step"], np.arange(12))
    assert math.isnan(run.metrics["pairs_per_second"][0])  # the first step is compiled
    assert isinstance(run.metrics[3:5], hybrid_jax.Metrics)
    with pytest.raises(KeyError, match="no column 'lose': there are step, kind"):
        run.metrics["lose"]
    with pytest.raises(ValueError, match=r"nowhere is not a run"):
        hybrid_jax.Run(folder / "nowhere")
    encoder = run.encoder(step=6)
    assert repr(encoder).startswith("TextEncoder(words, step 6: bert")
    np.testing.assert_array_equal(encoder.encode_query(["Haus?"]), encoder.encode_queries(["Haus?"]))
    np.testing.assert_array_equal(encoder.encode_document(["Haus."]), encoder.encode_passages(["Haus."]))


def test_an_evaluation_that_is_not_written_has_the_same_figures(used: tuple[Path, str]):
    folder, _ = used
    run = hybrid_jax.Run(folder / "runs" / "words")
    before = sorted(path for path in run.folder.rglob("*") if path.is_file())
    told: list[str] = []
    report = hybrid_jax.evaluate(run.encoder(), ["demo"], say=told.append)
    assert sorted(path for path in run.folder.rglob("*") if path.is_file()) == before
    written = json.loads((run.folder / "eval" / "report.json").read_text(encoding="utf-8"))
    assert report.tasks["demo"]["map"] == pytest.approx(written["tasks"]["demo"]["map"], abs=1e-3)  # other devices
    assert report.title == "words, step 12"
    assert told[0].startswith("demo: mAP ")


def test_the_run_is_the_one_of_the_same_config(tiny_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The first steps of the command's run, bit for bit; and the same call resumes or is refused."""
    monkeypatch.setenv("TINY_ROWS", str(tiny_run.folder.parent))
    config = hybrid_jax.Run(tiny_run.folder).config
    seen: list[int] = []

    def stop(record: Any) -> None:
        seen.append(record["step"])
        if len(seen) == 23:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        hybrid_jax.train(config, tmp_path / "run", on_step=stop)
    assert seen == list(range(23))
    ours, theirs = hybrid_jax.Run(tmp_path / "run").metrics, hybrid_jax.Run(tiny_run.folder).metrics
    np.testing.assert_array_equal(ours["loss"], theirs["loss"][: len(ours)])
    with pytest.raises(ValueError, match="steps: 80 -> 30"):
        hybrid_jax.train(config, tmp_path / "run", fields={"steps": 30})


def test_mistakes_are_one_line(tmp_path: Path):
    with pytest.raises(ValueError, match=r"^config: unknown field optimiser: did you mean optimizer") as caught:
        hybrid_jax.train({"optimiser": {}}, tmp_path / "run")
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"no config file nowhere\.yaml"):
        hybrid_jax.train("nowhere.yaml", tmp_path / "run")
    with pytest.raises(DataError, match=r"record 2 of mine: Object of type set is not JSON"):
        hybrid_jax.data.rows([{"id": "1"}, {"id": {1}}], name="mine", folder=tmp_path)
    with pytest.raises(DataError, match="no records for dataset rows"):
        hybrid_jax.data.rows([], folder=tmp_path)


def test_rows_are_written_once_for_the_same_records(tmp_path: Path):
    records = [{"id": "1", "lang": "en", "query": "ä?", "passage": "b"}]
    first, again = (hybrid_jax.data.rows(records, folder=tmp_path, languages=("en",)) for _ in range(2))
    assert first == again
    assert first.languages == ("en",)
    (path,) = tmp_path.iterdir()
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == records


def test_an_objective_of_ones_own_is_counted_as_ours(used: tuple[Path, str]):
    """Accuracy, negatives and masked of a batch worked out by hand: two rows share a group."""
    vectors = Vectors(jnp.eye(3), jnp.eye(3)[jnp.array([1, 0, 2])], jnp.float32(1))
    groups = Groups(jnp.array([7, 7, 8]), jnp.array([7, 7, 8]))
    _, metrics = completed(lambda vectors, groups: vectors.queries.sum())(vectors, groups)
    # Each of the first two would find the other's passage, which is masked as its translation.
    assert {name: float(value) for name, value in metrics.items()} == pytest.approx(
        {"accuracy": 1, "negatives": 4 / 3, "masked": 2 / 3}
    )
    with pytest.raises(TypeError, match=r"loss of shape \(3,\): return one float32 scalar"):
        completed(lambda vectors, groups: vectors.queries.sum(axis=1))(vectors, groups)
    folder, _ = used
    begun = json.loads((folder / "runs" / "hinge" / "run.json").read_text(encoding="utf-8"))
    assert begun["data"]["the objective"] == "__main__.hinge"
    violated = hybrid_jax.Run(folder / "runs" / "hinge").metrics["violated"]
    assert (violated > 0).all()
    config = hybrid_jax.Run(folder / "runs" / "hinge").config
    with pytest.raises(ValueError, match="the objective"):
        hybrid_jax.train(config, folder / "runs" / "hinge")
