"""XQuAD and MLQA paragraphs: mteb's own tasks on the same texts, with sentence-transformers, give our figures.

mteb's tasks, loader, search and scores are its own; only the data set on the hub, which tests cannot download, is
written here from the SQuAD files that LAReQA republished, by the rule that mteb's data were made with. That it is the
same data is checked against the statistics that mteb ships. A few languages and pairs, whole: nothing in them is cut.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mteb
import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

import hybrid_jax
from hybrid_jax.eval.full_ranking import run
from hybrid_jax.eval.tasks import RetrievalTask, mlqa, xquad

XQUAD = ("en",)
MLQA = {"zho-ara": ("ar", "zh"), "spa-deu": ("de", "es")}
"""mteb's name of a pair, context first: our (question language, context language)."""
pytestmark = pytest.mark.timeout(900)  # both libraries encode whole pools, on any machine
TOKENS = 64
"""Both cut texts here, so that whole pools are encoded in a third of the time; the definition is not about lengths."""
SAME = {"ndcg@10": "ndcg_at_10", "map": "map_at_1000", "recall@1": "recall_at_1", "recall@10": "recall_at_10"}
"""Our names and mteb's; no pool here has 1,000 paragraphs, so its map_at_1000 is the mean over full rankings."""

Asked = tuple[str, str, str]


def rows(path: Path) -> Iterator[Asked]:
    """(id, question, paragraph) of a SQuAD file."""
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                yield qa["id"], qa["question"], paragraph["context"]


def write_subset(folder: Path, subset: str, asked: list[Asked]) -> None:
    """The three files of a subset as mteb/XQuADRetrieval and mteb/MLQARetrieval on the hub have them."""
    ids = {question: name for name, question, _ in asked}
    contexts = {text: hashlib.sha256(text.encode()).hexdigest() for _, _, text in asked}
    relevant = {(ids[question], contexts[text]): None for _, question, text in asked}
    for kind, lines in (
        ("queries", [{"_id": name, "text": question} for question, name in ids.items()]),
        ("corpus", [{"_id": name, "title": "", "text": text} for text, name in contexts.items()]),
        ("qrels", [{"query-id": query, "corpus-id": name, "score": 1} for query, name in relevant]),
    ):
        path = folder / f"{subset}-{kind}" / "validation.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def local(name: str, folder: Path) -> Any:
    """mteb's task `name`, which finds its data set in `folder` and has the subsets that lie there."""
    configs = sorted(path.name for path in folder.iterdir())
    files = "".join(f"- config_name: {c}\n  data_files: [{{split: validation, path: {c}/*.jsonl}}]\n" for c in configs)
    (folder / "README.md").write_text(f"---\nconfigs:\n{files}---\n", encoding="utf-8")
    subsets = [config.removesuffix("-corpus") for config in configs if config.endswith("-corpus")]
    task = mteb.get_task(name, hf_subsets=subsets, eval_splits=["validation"])
    task.metadata = task.metadata.model_copy(update={"dataset": {"path": str(folder), "revision": "local"}})
    return task


def scores(task: Any, minilm: Path) -> dict[str, dict[str, Any]]:
    """{subset: mteb's figures} of the weights, run by sentence-transformers."""
    model = SentenceTransformer(str(minilm), device="cpu")
    model.max_seq_length = TOKENS
    found = mteb.evaluate(model, [task], cache=None, show_progress_bar=False, co2_tracker=False)
    return {row["hf_subset"]: row for row in found.task_results[0].scores["validation"]}


def assert_same_data(task: Any) -> None:
    """The texts and judgments that mteb counts here are those that it has published of its data set.

    For MLQA it has published those of the Chinese paragraphs alone.
    """
    task.load_data()
    shipped = Path(mteb.__path__[0]) / "descriptive_stats" / "Retrieval" / f"{task.metadata.name}.json"
    published = json.loads(shipped.read_text(encoding="utf-8"))["validation"]["hf_subset_descriptive_stats"]
    known = [subset for subset in task.hf_subsets if subset in published]
    assert known
    for subset in known:
        counted = task._calculate_descriptive_statistics_from_split("validation", hf_subset=subset)
        for part in ("documents_text_statistics", "queries_text_statistics", "relevant_docs_statistics"):
            numbers = published[subset][part]  # by an older mteb, which counted less
            assert numbers == {name: counted[part][name] for name in numbers}, (subset, part)


def part(task: RetrievalTask, asked: set[str], held: set[str]) -> RetrievalTask:
    """The questions and the paragraphs of some languages; every pair's pool stays whole."""
    queries = [row for row, query in enumerate(task.queries) if query.language in asked]
    candidates = [row for row, candidate in enumerate(task.candidates) if candidate.language in held]
    kept = np.isin(task.relevance, queries)[:, 0] & np.isin(task.relevance, candidates)[:, 1]
    # An English question may have no German paragraph: in that pair it is not asked.
    queries = [row for row in queries if row in set(task.relevance[kept, 0].tolist())]
    relevance = [(queries.index(query), candidates.index(row)) for query, row in task.relevance[kept].tolist()]
    return replace(
        task,
        queries=tuple(task.queries[row] for row in queries),
        candidates=tuple(task.candidates[row] for row in candidates),
        relevance=np.array(relevance),
    )


def assert_same_figures(ours: dict[str, Any], theirs: dict[str, Any], where: str) -> None:
    # Equal to 1e-6: float32 embeddings that differ in their last bits may rank two deep candidates the other way round.
    assert theirs["main_score"] == theirs["ndcg_at_10"]
    for name, their_name in SAME.items():
        print(f"{where} {name}: {ours[name]:.6f}, mteb {theirs[their_name]:.5f}")
        assert ours[name] == pytest.approx(theirs[their_name], abs=0.5e-5 + 1e-6)  # mteb rounds to 5 decimals
    assert ours["mrr"] == pytest.approx(theirs["mrr_at_1000"], abs=1e-6)  # but not here
    assert 0 < ours["ndcg@10"] < 1


def test_xquad_paragraphs(minilm: Path, real_data: Path, tmp_path: Path):
    for language in XQUAD:
        asked = rows(real_data / "eval" / "xquad-r" / f"{language}.json")
        write_subset(tmp_path, language, [(name, question.strip(), text.strip()) for name, question, text in asked])
    task = local("XQuADRetrieval", tmp_path)
    assert_same_data(task)
    theirs = scores(task, minilm)
    ours = run(hybrid_jax.load(minilm, max_length=TOKENS), [part(xquad(real_data), {*XQUAD}, {*XQUAD})]).tasks["xquad"]
    for language in XQUAD:
        assert_same_figures(ours.pairs[language][language], theirs[language], f"XQuAD {language}")


def test_mlqa_paragraphs(minilm: Path, real_data: Path, tmp_path: Path):
    files = {pair: [*rows(real_data / "eval" / "mlqa-r" / f"{pair}.json")] for pair in ("ar", "de", "es", "zh")}
    questions = {language: {name: question for name, question, _ in asked} for language, asked in files.items()}
    for subset, (asked, context) in MLQA.items():
        pair = [(name, questions[asked][name], text) for name, _, text in files[context] if name in questions[asked]]
        write_subset(tmp_path, subset, pair)
    task = local("MLQARetrieval", tmp_path)
    assert_same_data(task)
    theirs = scores(task, minilm)
    wanted = {f"mlqa_dev_{asked}": ({asked}, {context}) for asked, context in MLQA.values()}
    tasks = [part(one, *wanted[one.name]) for one in mlqa(real_data, "dev") if one.name in wanted]
    ours = run(hybrid_jax.load(minilm, max_length=TOKENS), tasks).tasks
    for subset, (asked, context) in MLQA.items():
        assert_same_figures(ours[f"mlqa_dev_{asked}"].pairs[asked][context], theirs[subset], f"MLQA {subset}")
