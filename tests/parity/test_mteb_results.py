"""mteb's own loader reads the results that we write, under its own names, splits, subsets and languages."""

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mteb
import numpy as np
import pytest
from datasets import Dataset
from mteb.cache import ResultCache
from mteb.models import ModelMeta
from mteb.results import TaskResult
from support.made_up_report import made_up_report

from hybrid_jax.eval import bitext as mining
from hybrid_jax.eval.report.mteb_results import write
from hybrid_jax.eval.tasks import BitextTask

RETRIEVAL = ("XQuADRetrieval", "MLQARetrieval", "MIRACLRetrieval", "MIRACLRetrievalHardNegatives")


def subsets(task: str) -> dict[str, list[str]]:
    return mteb.get_task(task).metadata.hf_subsets_to_langscripts


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """With the pairs of bitext as the official files name them."""
    ours = {"zho_Hans": "zho-CN", "zho_Hant": "zho-TW", "srp_Latn": "srp-Latn", "srp_Cyrl": "srp-Cyrl"}
    ntrex = [pair.partition("-")[2] for pair in subsets("NTREXBitextMining") if pair.startswith("eng_Latn-")]
    return made_up_report(
        {
            "flores": [pair for pair in subsets("FloresBitextMining") if pair.startswith("eng_Latn-")],
            "ntrex": [f"eng-{ours.get(code, code[:3])}" for code in ntrex],
            "tatoeba": list(subsets("Tatoeba")),
        }
    )


@pytest.fixture(scope="module")
def results(report: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, TaskResult]:
    folder = tmp_path_factory.mktemp("mteb")
    paths = write(folder, report)
    (model,) = ResultCache(folder).load_results().model_results
    assert (model.model_name, model.model_revision) == ("hybrid_jax/my run", paths[0].parent.name)
    found = {result.task_name: result for result in model.task_results}
    assert len(found) == len(paths) - 1  # all but model_meta.json
    return found


@pytest.mark.parametrize("task", [*RETRIEVAL, "Tatoeba"])
def test_a_whole_benchmark_lacks_nothing(results: dict[str, TaskResult], task: str):
    wanted = mteb.get_task(task)
    rows = {row["hf_subset"]: row["languages"] for row in results[task].scores[wanted.metadata.eval_splits[0]]}
    assert rows == subsets(task)
    checked = results[task].validate_and_filter_scores()
    assert {split: len(rows) for split, rows in checked.scores.items()} == dict.fromkeys(
        wanted.metadata.eval_splits, len(subsets(task))
    )
    assert np.isfinite([row["main_score"] for rows in checked.scores.values() for row in rows]).all()
    main = wanted.metadata.main_score
    assert all(row["main_score"] == row[main] for rows in checked.scores.values() for row in rows)


@pytest.mark.parametrize("task", ["FloresBitextMining", "NTREXBitextMining"])
def test_bitext_around_english_is_mtebs(results: dict[str, TaskResult], task: str):
    (split,) = mteb.get_task(task).metadata.eval_splits
    rows = {row["hf_subset"]: row["languages"] for row in results[task].scores[split]}
    assert rows == {name: languages for name, languages in subsets(task).items() if "eng_Latn" in name.split("-")}


def test_scores_are_found_by_language(report: dict[str, Any], results: dict[str, TaskResult]):
    thai = report["searches"]["miracl"]["per_language"]["th"]["ndcg@10"]
    assert results["MIRACLRetrieval"].get_score(languages=["tha"]) == thai
    scores = report["tasks"]["xquad"]["per_language"]
    mean = np.mean([row["ndcg@10"]["monolingual"] for row in scores.values()])
    assert results["XQuADRetrieval"].get_score() == pytest.approx(mean)
    own = results["hybrid_jax.xquad_r"]
    german = report["tasks"]["xquad_r"]["per_language"]["de"]["map"]["multilingual"]
    assert own.get_score(splits=["multilingual"], languages=["deu-Latn"]) == german


def test_the_models_file_is_one_of_mtebs(report: dict[str, Any], tmp_path: Path):
    write(tmp_path, report)
    (path,) = tmp_path.rglob("model_meta.json")
    meta = json.loads(path.read_text())
    theirs = ModelMeta.create_empty({"name": "a/b", "revision": "c"}).to_dict()
    assert set(meta) == set(theirs)
    read = ModelMeta.model_validate(meta)
    assert read.model_name_as_path() == path.parents[1].name
    assert read.revision == path.parent.name


class NearTranslations:
    """Texts "LANGUAGE NUMBER": those of one number lie near each other, some not nearest; for us and for mteb."""

    mteb_model_meta = ModelMeta.create_empty({"name": "made/up", "revision": "1"})

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        def drawn(name: str) -> np.ndarray:
            return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(6)

        rows = np.stack([drawn(text.split()[1]) + 0.4 * drawn(text) for text in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    encode_passages = encode_queries

    def encode(self, inputs: Any, **settings: Any) -> np.ndarray:
        return self.encode_queries([text for batch in inputs for text in batch["text"]])

    def similarity(self, one: Any, other: Any) -> np.ndarray:
        return np.asarray(one) @ np.asarray(other).T

    similarity_pairwise = similarity


def test_mteb_measures_what_we_write(tmp_path: Path):
    """The same sentences under mteb's own bitext mining and under ours: the same file, but for what only mteb has."""
    texts = {code: [f"{code} {number}" for number in range(120)] for code in ("eng_Latn", "deu_Latn")}
    task = mteb.get_task("FloresBitextMining", hf_subsets=["eng_Latn-deu_Latn", "deu_Latn-eng_Latn"])
    task.dataset, task.data_loaded = {"devtest": Dataset.from_dict(texts)}, True
    (theirs,) = mteb.evaluate(
        NearTranslations(), [task], cache=None, show_progress_bar=False, co2_tracker=False
    ).task_results
    bitext = BitextTask("flores_devtest", {("eng_Latn", "deu_Latn"): (texts["eng_Latn"], texts["deu_Latn"])})
    report = {
        "provenance": {},
        "tasks": {},
        "bitext": {"flores": mining.evaluate(NearTranslations(), bitext).model_dump()},
    }
    _, path = write(tmp_path, report)
    ours = TaskResult.from_disk(path)
    assert ours.task_name == theirs.task_name
    assert len(ours.scores["devtest"]) == len(theirs.scores["devtest"]) == 2
    their_rows = {row["hf_subset"]: row for row in theirs.scores["devtest"]}
    for row in ours.scores["devtest"]:
        expected = their_rows[row["hf_subset"]]
        assert row["languages"] == expected["languages"]
        assert set(expected) - set(row) == {"precision", "mteb_version"}
        for name in ("main_score", "f1", "accuracy", "recall"):
            print(f"{row['hf_subset']} {name}: {row[name]:.6f}, mteb {expected[name]:.6f}")
            assert row[name] == pytest.approx(expected[name], abs=1e-12)
            assert 0.1 < row[name] < 0.95
