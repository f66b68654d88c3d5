"""`python -m hybrid_jax.data leakage`: planted texts are found in each kind of task, real ones only where they are."""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from hybrid_jax.data.dataset import DatasetConfig
from hybrid_jax.data.records import DataError
from hybrid_jax.eval.leakage.check import check
from hybrid_jax.eval.leakage.command import CLEAN, FAILED, LEAKED, main
from hybrid_jax.eval.leakage.result import Leakage, Side, read_leakage
from hybrid_jax.eval.tasks import BitextTask, RetrievalTask, mlqa_r, xquad_r

LONG = "the quick brown fox jumps over the lazy dog and runs far away from it"


def lines(path: Path, *rows: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """A BEIR folder with two queries, two relevant documents and one that is not."""
    folder = tmp_path / "pool"
    documents = [("d1", "A title", LONG, "en"), ("d2", "", "Ein Fluss.", "de"), ("d3", "", "irrelevant", "en")]
    lines(folder / "corpus.jsonl", *({"_id": i, "title": t, "text": text, "lang": l} for i, t, text, l in documents))
    lines(folder / "queries.jsonl", *({"_id": i, "text": t, "lang": "en"} for i, t in (("q1", "Why?"), ("q2", "Who?"))))
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t1\nq2\td3\t0\n")
    return folder


def row(query: str, passage: str, **more: object) -> dict[str, object]:
    return {"id": query, "lang": "en", "query": query, "passage": passage, **more}


def counts(result: Leakage) -> dict[tuple[str, str], tuple[int, int, int, int]]:
    return {(s.language, s.side): (s.texts, s.exact, s.normalised, s.partial) for s in result.sides}


@pytest.mark.parametrize("kind", ["beir", "pooled"])
def test_each_side_is_counted_in_each_language_and_each_find_has_its_places(kind: str, pool: Path, tmp_path: Path):
    words = LONG.split()
    train = lines(
        tmp_path / "train.jsonl",
        row("Nothing here", "nothing there"),
        row("WHY", f"in between, {' '.join(words[:14])} is half", negatives=["ein fluss", "irrelevant"]),
        row("Who?", "who knows"),
    )
    out = tmp_path / "result.json"
    assert main(["--train", str(train), "--eval", f"{kind}:{pool}", "--json", str(out)]) == LEAKED
    result = read_leakage(out)
    assert counts(result) == {
        ("en", "queries"): (2, 1, 1, 0),
        # of a pool that is searched, only relevant documents count
        ("en", "candidates"): (1, 0, 0, 1) if kind == "beir" else (2, 1, 0, 1),
        ("de", "candidates"): (1, 0, 1, 0),
    }
    assert result.training_texts == 8
    places = {
        (example.kind, Path(example.evaluation).name, example.training) for s in result.sides for example in s.examples
    }
    assert {
        ("exact", "queries.jsonl:2", f"{train}:3"),
        ("normalised", "queries.jsonl:1", f"{train}:2"),
        ("partial", "corpus.jsonl:1", f"{train}:2"),
        ("normalised", "corpus.jsonl:2", f"{train}:2"),
    } <= places


def test_a_title_is_part_of_the_passage_and_not(pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for training in (row("x", LONG, title="A title"), row("x", f"A title {LONG}")):
        train = lines(tmp_path / "train.jsonl", training)
        assert main(["--train", str(train), "--eval", f"beir:{pool}"]) == LEAKED
        printed = capsys.readouterr().out
        assert "leakage: 1 exact of the 4 evaluation texts in training (pool)" in printed
        assert f"{train}:1: " in printed


def test_the_command_in_a_process_of_its_own_takes_the_datasets_of_configs(pool: Path, tmp_path: Path):
    train = lines(tmp_path / "train.jsonl", row("Nothing here", "nothing there"), row("Nothing here", "again"))
    config = tmp_path / "config.yaml"
    config.write_text(f"data: {{datasets: [{{name: mine, path: {train}}}]}}\n")
    command = [sys.executable, "-m", "hybrid_jax.data", "leakage", "--config", str(config), str(config)]
    done = subprocess.run(
        [*command, "--eval", f"beir:{pool}"], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == CLEAN, done.stderr
    assert done.stdout.splitlines()[-1] == "leakage: none of the 4 evaluation texts is in the 4 training texts"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--train", "nowhere.jsonl", "--eval", "demo"], "nowhere.jsonl: no such file"),
        (["--train", "{train}", "--eval", "nothing"], "no task 'nothing'"),
        (["--train", "{train}", "--eval", "demo"], "train.jsonl:2: "),
        (["--config", "nowhere.yaml", "--eval", "demo"], "nowhere.yaml"),
    ],
)
def test_what_cannot_be_checked_is_neither_clean_nor_leaked(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    train = lines(tmp_path / "train.jsonl", row("a", "b"), {"id": "1", "lang": "en", "query": 7, "passage": None})
    assert main([option.format(train=train) for option in options]) == FAILED
    errors = capsys.readouterr().err.splitlines()
    assert errors[-1].startswith("error: ")
    assert message in errors[-1]


def test_sentences_of_a_bitext_and_the_demo_which_is_clean_of_its_own_training():
    demo = DatasetConfig(name="demo", path="demo")
    from hybrid_jax.data.corpora.demo import rows

    planted = next(r for r in rows("train") if r.lang == "hi" and r.query)
    pairs = {("en", "hi"): (["nothing of the kind"], [f" {planted.query}"])}
    result = check([BitextTask("pairs", pairs)], [demo], _refuse)
    assert counts(result) == {("en", "sentences"): (1, 0, 0, 0), ("hi", "sentences"): (1, 1, 0, 0)}
    assert result.sides[1].examples[0].training == planted.where


def test_a_damaged_result_is_named(tmp_path: Path):
    (tmp_path / "leakage.json").write_text("{}")
    with pytest.raises(DataError, match=r"leakage\.json is damaged .*delete it"):
        read_leakage(tmp_path / "leakage.json")


def _refuse(error: DataError) -> None:
    raise error


def some(task: RetrievalTask, every: int, queries: int) -> RetrievalTask:
    """A part of the queries and of the sentences."""
    candidates = tuple(replace(candidate, texts=candidate.texts[1:]) for candidate in task.candidates[::every])
    asked = task.queries[::queries]
    return replace(task, queries=asked, candidates=candidates, relevance=np.array([(q, 0) for q in range(len(asked))]))


def letters(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())


@pytest.mark.real_data
@pytest.mark.timeout(120)
def test_the_real_bundle_has_what_its_documentation_says(real_data: Path, tmp_path: Path):
    # SOURCES.md: nothing of XQuAD; seven general questions that are also in MLQA dev.
    datasets = []
    parts: dict[str, Callable[[int], bool]] = {  # the lines where something was found, and every 32nd
        "qa_native": lambda n: n % 32 == 0 or n in (53908, 59465, 61840, 30540, 31413),
        "qa_parallel_mlqa_test": lambda n: n % 32 == 0 or n in (16066, 12898, 17807, 3256),
        "bitext_ntrex128_11way": lambda n: n % 32 == 0,
    }
    for name, wanted in parts.items():
        path = tmp_path / f"{name}.jsonl"
        with gzip.open(real_data / "train" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
            chosen = [line for number, line in enumerate(islice(file, 70_000), start=1) if wanted(number)]
        path.write_text("".join(chosen), encoding="utf-8")
        datasets.append(DatasetConfig(name=name, path=str(path)))
    result = check([some(xquad_r(real_data), 4, 4), some(mlqa_r(real_data), 4, 1)], datasets, lambda error: None)
    found = {s.task: [other for other in result.sides if other.task == s.task and _finds(other)] for s in result.sides}
    assert found["xquad_r"] == []
    questions = [s for s in found["mlqa_r"] if s.side == "queries"]
    assert sum(s.exact for s in questions) == sum(map(_finds, questions)) == 5
    assert {(s.language, s.exact) for s in questions} == {("ar", 1), ("en", 3), ("hi", 1)}
    passages = [s for s in found["mlqa_r"] if s.side == "candidates"]
    assert passages
    for example in (example for s in passages for example in s.examples):
        # no false alarm: a sentence of 24 letters or more is in both
        ours, theirs = letters(example.text), letters(_line(example.training))
        assert any(ours[start : start + 24] in theirs for start in range(len(ours) - 23)), example


def _finds(side: Side) -> int:
    return side.exact + side.normalised + side.partial


def _line(where: str) -> str:
    path, _, number = where.rpartition(":")
    with Path(path).open(encoding="utf-8") as file:
        record = json.loads(next(islice(file, int(number) - 1, None)))
    return " ".join(str(record[key]) for key in ("question", "passage", "sentence", "title", "en") if record.get(key))


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("triplets.jsonl", {"anchor": "Why?", "positive": "nothing"}),
        ("bge.jsonl", {"query": "Why?", "pos": ["nothing"], "neg": []}),
        ("dev.json", {"data": [{"paragraphs": [{"context": "nothing", "qas": [{"id": "1", "question": "Why?"}]}]}]}),
        ("rows.jsonl", {"id": 1, "query": "Why?", "passage": "nothing"}),
        ("rows.jsonl", {"id": 1, "lang": "de", "query": "Why?", "passage": "nothing"}),
    ],
)
def test_training_files_need_no_language(name: str, record: dict[str, object], pool: Path, tmp_path: Path):
    train = lines(tmp_path / name, record)
    assert main(["--train", str(train), "--eval", f"beir:{pool}", "--json", str(tmp_path / "out.json")]) == LEAKED
    assert counts(read_leakage(tmp_path / "out.json"))["en", "queries"] == (2, 1, 0, 0)


def test_a_sentence_of_several_pairs_is_counted_once():
    english, german, french = ["one river", "two rivers", "one river"], ["a", "b", "c"], ["d", "e", "f"]
    pairs = {("en", "de"): (english, german), ("en", "fr"): (english, french), ("de", "fr"): (german, french)}
    result = check([BitextTask("pairs", pairs)], [], _refuse)
    assert counts(result) == {(code, "sentences"): (n, 0, 0, 0) for code, n in (("en", 2), ("de", 3), ("fr", 3))}


def test_a_part_of_a_text_leaks_above_the_share_that_is_asked_for(pool: Path, tmp_path: Path):
    """Five of the eight shingles of the longest text, its title included, are in training, and nothing else is."""
    train = lines(tmp_path / "train.jsonl", row("Nothing here", f"before {' '.join(LONG.split()[:14])} after"))
    for share, status in (("0.6", LEAKED), ("0.65", CLEAN)):
        out = tmp_path / f"{share}.json"
        assert main(["--train", str(train), "--eval", f"beir:{pool}", "--share", share, "--json", str(out)]) == status
        assert read_leakage(out).share == float(share)
        assert counts(read_leakage(out))["en", "candidates"] == (1, 0, 0, int(status == LEAKED))


def test_a_negative_is_read_with_its_title(pool: Path, tmp_path: Path):
    lines(
        pool / "corpus.jsonl",
        {"_id": "d1", "title": "", "text": f"A title {LONG}", "lang": "en"},
        {"_id": "d2", "title": "", "text": "Ein Fluss.", "lang": "de"},
        {"_id": "d3", "title": "", "text": "irrelevant", "lang": "en"},
    )
    negative = {"title": "A title", "text": LONG}
    train = lines(tmp_path / "train.jsonl", row("Nothing here", "nothing there", title="T", negatives=[negative]))
    out = tmp_path / "result.json"
    assert main(["--train", str(train), "--eval", f"beir:{pool}", "--json", str(out)]) == LEAKED
    assert counts(read_leakage(out))["en", "candidates"] == (1, 1, 0, 0)


def test_bad_rows_are_left_out_where_asked(pool: Path, tmp_path: Path):
    bad = {"id": "1", "lang": "en", "query": 7, "passage": None}
    train = lines(tmp_path / "train.jsonl", row("Nothing here", "nothing there"), bad)
    words = ["--train", str(train), "--eval", f"beir:{pool}"]
    assert (main(words), main([*words, "--skip-bad-rows"])) == (FAILED, CLEAN)
