"""A bitext of one's own: every layout gives the same task, incomplete lines are left out, and defects are named."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from hybrid_jax.data.records import DataError
from hybrid_jax.eval import bitext as mining
from hybrid_jax.eval import tasks
from hybrid_jax.eval.tasks import BitextTask, bitext, bitext_files

LINES = [
    {"en": "Good day.", "de": "Guten Tag.", "zh": "你好。"},
    {"en": "Yes,\u2028no.", "de": "Ja.", "zh": None},
    {"en": "Water", "de": "Wasser", "zh": "水"},
]
PAIRS = {
    ("en", "de"): (["Good day.", "Yes,\u2028no.", "Water"], ["Guten Tag.", "Ja.", "Wasser"]),
    ("en", "zh"): (["Good day.", "Water"], ["你好。", "水"]),
    ("de", "zh"): (["Guten Tag.", "Wasser"], ["你好。", "水"]),
}


def jsonl(path: Path) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in LINES), encoding="utf-8")
    return path


def table(path: Path) -> Path:
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, delimiter="\t")
        writer.writerow(["eng_Latn", "deu", "zho_Hans"])
        writer.writerows([line["en"], line["de"], line["zh"]] for line in LINES)
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    for name, language in (("test.eng_Latn.txt", "en"), ("test.ger", "de"), ("test.zh-CN", "zh")):
        (path / name).write_text("".join(f"{line[language] or ''}\n" for line in LINES), encoding="utf-8")
    (path / "README").write_text("no text")
    return path


@pytest.mark.parametrize(("name", "write"), [("mine.jsonl", jsonl), ("mine.tsv", table), ("mine", folder)])
def test_every_layout_gives_the_same_task(name: str, write, tmp_path: Path):
    path = write(tmp_path / name)
    (task,) = tasks.maker(f"bitext:{path}")(lambda: tmp_path)
    assert isinstance(task, BitextTask)
    # the languages are in the order of the columns, or of the files' names
    assert {
        tuple(sorted(pair)): dict(zip(pair, map(list, texts), strict=True)) for pair, texts in task.pairs.items()
    } == {tuple(sorted(pair)): dict(zip(pair, texts, strict=True)) for pair, texts in PAIRS.items()}
    # line 2 has no Chinese
    assert {pair: list(numbers) for pair, numbers in task.lines.items()} == {
        pair: [1, 3] if "zh" in pair else [1, 2, 3] for pair in task.pairs
    }
    assert task.name == "bitext:mine"
    assert task.about == f"{name}, 3 pairs of 3 languages; 1 lines lack a text in some of them"
    assert len(task.sources) == (3 if path.is_dir() else 1)


def test_lines_of_pairs_are_gathered_by_languages(tmp_path: Path):
    path = tmp_path / "tatoeba.jsonl"
    lines = [("en", "a", "de", "b"), ("de", "c", "eng", "d"), ("en", "e", "fr", "f")]
    path.write_text("".join(json.dumps({"l1": a, "s1": b, "l2": c, "s2": d}) + "\n" for a, b, c, d in lines))
    assert bitext(path).pairs == {("en", "de"): (["a", "d"], ["b", "c"]), ("en", "fr"): (["e"], ["f"])}


def test_many_languages_are_paired_with_english(tmp_path: Path):
    languages = ["de", "fr", "es", "it", "en", "pt", "nl", "sv", "da", "fi", "hu"]
    path = tmp_path / "many.jsonl"
    path.write_text(json.dumps(dict.fromkeys(languages, "a")) + "\n")
    assert sorted(bitext(path).pairs) == [("en", language) for language in sorted(languages) if language != "en"]


def test_its_scores_are_numpys(tmp_path: Path):
    """Vectors of texts drawn at random, and one translation that is not the nearest."""
    task = bitext(folder(tmp_path / "mine"))
    vectors: dict[str, np.ndarray] = {}

    class Encoder:
        def encode_queries(self, texts):
            for text in texts:
                drawn = np.random.default_rng(len(vectors)).normal(size=8)
                vectors.setdefault(text, (drawn / np.linalg.norm(drawn)).astype(np.float32))
            return np.stack([vectors[text] for text in texts])

        encode_passages = encode_queries

    result = mining.evaluate(Encoder(), task)
    for pair, (left, right) in task.pairs.items():
        scores = np.stack([vectors[t] for t in left]) @ np.stack([vectors[t] for t in right]).T
        correct = np.arange(len(left))
        forward, backward = ((s.argmax(1) == correct).mean() for s in (scores, scores.T))
        assert result.pairs["-".join(pair)]["accuracy"] == pytest.approx((forward + backward) / 2)


def test_what_is_no_bitext_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fix = "a bitext is a file with a column for each language"
    with pytest.raises(DataError, match=rf"{tmp_path}/nowhere: no such file or folder; {fix}"):
        bitext(tmp_path / "nowhere")
    (tmp_path / "qa.csv").write_text("query,passage\na,b\n")
    with pytest.raises(DataError, match=rf"codes of languages \(columns here: query, passage\); {fix}"):
        bitext(tmp_path / "qa.csv")
    (tmp_path / "one.jsonl").write_text('{"en": "a", "de": null}\n')
    with pytest.raises(DataError, match="no line has texts in two languages"):
        bitext(tmp_path / "one.jsonl")
    (tmp_path / "bad.csv").write_text("en,de\na,b\nc\n")
    with pytest.raises(DataError, match=r"bad\.csv:3: 1 values for 2 columns"):
        bitext(tmp_path / "bad.csv")
    monkeypatch.setattr(bitext_files, "MOST_SENTENCES", 2)
    with pytest.raises(DataError, match=r"3 sentences in en and de, but each is compared .* at most 2: take a part"):
        bitext(jsonl(tmp_path / "long.jsonl"))


def test_a_folder_needs_a_file_of_equal_length_for_each_of_two_languages(tmp_path: Path):
    path = folder(tmp_path / "mine")
    (path / "test.zh-CN").write_text("a\n")
    with pytest.raises(DataError, match=r"different numbers of lines \(3 in test\.eng_Latn\.txt, .*1 in test\.zh-CN\)"):
        bitext(path)
    (path / "test.zh-CN").rename(path / "test.en")
    with pytest.raises(DataError, match=r"test\.en and test\.eng_Latn\.txt are both en, keep one of them"):
        bitext(path)
    (path / "test.en").unlink()
    (path / "test.ger").unlink()
    with pytest.raises(DataError, match="1 files are named by a language, a bitext needs two"):
        bitext(path)
