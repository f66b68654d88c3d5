"""mteb runs our encoder on a local task, offline, and gives it the figures it gives sentence-transformers."""

from pathlib import Path
from typing import Any

import mteb
import pytest
from datasets import Dataset
from mteb.abstasks import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata
from sentence_transformers import SentenceTransformer

import hybrid_jax
from hybrid_jax.eval.tasks import xquad_r


class LocalRetrieval(AbsTaskRetrieval):
    """200 questions of XQuAD-R and its sentences, in English."""

    metadata = TaskMetadata(
        name="LocalXQuADR",
        description="Sentences that answer questions.",
        dataset={"path": "local", "revision": "1"},
        type="Retrieval",
        category="t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_10",
    )
    data: Path

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        task = xquad_r(self.data)
        english = [row for row, query in enumerate(task.queries) if query.language == "en"][:200]
        held = {row: c for row, c in enumerate(task.candidates) if c.language == "en"}
        relevant: dict[str, dict[str, int]] = {}
        for query, candidate in task.relevance.tolist():
            if query in english and candidate in held:
                relevant.setdefault(task.queries[query].id, {})[held[candidate].id] = 1
        self.dataset = {
            "default": {
                "test": {
                    "queries": Dataset.from_list(
                        [{"id": task.queries[q].id, "text": task.queries[q].text} for q in english]
                    ),
                    "corpus": Dataset.from_list(
                        [{"id": c.id, "title": "", "text": c.texts[1]} for c in list(held.values())]
                    ),
                    "relevant_docs": relevant,
                    "top_ranked": None,
                }
            }
        }
        self.data_loaded = True


def scores(model: Any) -> dict[str, float]:
    found = mteb.evaluate(model, [LocalRetrieval()], cache=None, show_progress_bar=False, co2_tracker=False)
    return found.task_results[0].scores["test"][0]


def test_figures_are_those_of_sentence_transformers(minilm: Path, real_data: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(LocalRetrieval, "data", real_data / "eval", raising=False)
    ours = scores(hybrid_jax.MtebEncoder(hybrid_jax.load(minilm)))
    theirs = scores(SentenceTransformer(str(minilm), device="cpu"))
    for name in ("ndcg_at_10", "map_at_100", "recall_at_10", "mrr_at_10"):
        print(f"{name}: {ours[name]:.5f}, sentence-transformers {theirs[name]:.5f}")
        assert ours[name] == pytest.approx(theirs[name], abs=1e-9)
    assert 0.5 < ours["ndcg_at_10"] < 1
