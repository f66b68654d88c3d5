"""TFDS without TensorFlow: what we write is what we read, and prepared QA datasets are read by name."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from hybrid_jax.data.corpora import aligned_tfds
from hybrid_jax.data.dataset import DatasetConfig
from hybrid_jax.data.records import DataError, Passage, Row
from hybrid_jax.data.schedule import KINDS
from hybrid_jax.data.sources import BadRows, fingerprint, prepare_tfds, read_rows, resolve_kinds

ROWS = [
    Row("q1", "en", "Who?", "Nobody.", "Odyssey", (Passage("Somebody.", "Iliad", "p2"), Passage("All.")), "p1", "a:1"),
    Row("q2", "de", "Wo?", None, where="a:2"),
    Row(
        "q1",
        "de",
        "Wer? ἀνήρ",
        "Niemand.",
        None,
        (),
        "p1",
        "a:3",
        (Passage("Keiner.", id="p1"), Passage("Noman.", "Od.")),
    ),
    Row("q3", "th", None, "ไม่มีใคร", where="a:4"),
]


def config(path: Path | str, **fields: Any) -> DatasetConfig:
    return DatasetConfig(name="some", path=str(path), **fields)


def read(path: Path | str, **fields: Any) -> list[Row]:
    return list(read_rows(config(path, **fields), BadRows(skip=False)))


def by_key(rows: list[Row]) -> dict[tuple[str, str], Row]:
    return {(row.id, row.lang): row for row in rows}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ROWS as a prepared dataset."""
    return aligned_tfds.write(iter(ROWS), "some", "train", tmp_path_factory.mktemp("aligned"))


def test_rows_come_back_equal_and_gathered_by_record(prepared: Path) -> None:
    rows = read(f"tfds:{prepared}")
    assert by_key(rows) == by_key(ROWS)
    assert len(rows) == len(ROWS)
    ids = [row.id for row in rows]
    assert len([i for i in range(len(ids)) if i == 0 or ids[i] != ids[i - 1]]) == 3


def test_records_of_an_older_version_are_refused(tmp_path: Path) -> None:
    class Older(aligned_tfds.AlignedTfds, skip_registration=True):
        """Without further positives and the titles and ids of negatives."""

        def _info(self) -> tfds.core.DatasetInfo:
            text = tfds.features.Text()
            rows = {name: tfds.features.Sequence(text) for name in aligned_tfds._ROW_TEXTS}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({"id": text, **rows}))

        def _generate_examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
            yield "q1", {"id": "q1", **{name: ["en"] for name in aligned_tfds._ROW_TEXTS}}

    Older(data_dir=tmp_path, file_format="array_record").download_and_prepare(file_format="array_record")
    with pytest.raises(DataError, match=r"older version .* write it again \(python -m hybrid_jax.data prepare --tfds"):
        read(f"tfds:{tmp_path}")


def test_a_record_is_one_example_in_any_order(prepared: Path) -> None:
    examples = aligned_tfds.open_examples(prepared, "train")
    assert len(examples) == 3
    backwards = [row for i in (2, 1, 0) for row in aligned_tfds.rows_of_record(examples[i])]
    assert by_key(backwards) == by_key(ROWS)


def test_slices_of_a_split_part_the_records(prepared: Path) -> None:
    first, rest = read(f"tfds:{prepared}", split="train[:1]"), read(f"tfds:{prepared}", split="train[1:]")
    assert {row.id for row in first}.isdisjoint({row.id for row in rest})
    assert by_key(first + rest) == by_key(ROWS)


def test_the_folder_above_is_enough_and_the_languages_filter_applies(prepared: Path) -> None:
    above = prepared.parents[2]
    assert {row.lang for row in read(f"tfds:{above}", languages=("de",))} == {"de"}


def test_a_missing_split_names_those_there_are(prepared: Path) -> None:
    with pytest.raises(DataError, match="there is no split 'dev', set the dataset's split to one of train"):
        read(f"tfds:{prepared}", split="dev")
    with pytest.raises(DataError, match=r"split 'train\[oops\]' cannot be read"):
        read(f"tfds:{prepared}", split="train[oops]")


def test_prepare_reads_any_dataset_and_never_writes_over_another(tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    source.write_text(json.dumps({"id": "q1", "lang": "en", "query": "Who?", "passage": "Nobody."}))
    folder = prepare_tfds(config(source), tmp_path / "out", BadRows(skip=False))
    assert by_key(read(f"tfds:{folder}")) == by_key(read(source))
    before = fingerprint(config(f"tfds:{folder}"))
    with pytest.raises(DataError, match="exists already, remove it or choose another"):
        prepare_tfds(config(source), tmp_path / "out", BadRows(skip=False))
    assert fingerprint(config(f"tfds:{folder}")) == before


def test_what_was_a_bitext_gives_no_other_kinds_when_it_is_read_back(tmp_path: Path) -> None:
    bitext, questions = tmp_path / "bitext.jsonl", tmp_path / "questions.jsonl"
    bitext.write_text(json.dumps({"id": "1", "en": "A river.", "de": "Ein Fluss."}))
    questions.write_text(json.dumps({"id": "q1", "lang": "en", "query": "Who?", "passage": "Nobody."}))
    kinds = {}
    for path in (bitext, questions):
        folder = prepare_tfds(config(path), tmp_path / path.stem, BadRows(skip=False))
        kinds[path.stem] = resolve_kinds(config(f"tfds:{folder}"))
        assert kinds[path.stem] == resolve_kinds(config(path))
        assert resolve_kinds(config(f"{questions},tfds:{folder}")) == kinds[path.stem]  # what both can give
    assert kinds == {"bitext": ("cross_lingual",), "questions": KINDS}
    written = next(tmp_path.glob("bitext/**/dataset_info.json")).parent
    with pytest.raises(DataError, match=r"kinds has 'monolingual', but it was written from data that gives only"):
        resolve_kinds(config(f"tfds:{written}", kinds=("monolingual",)))


def test_a_bad_row_leaves_nothing_behind(tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    source.write_text(json.dumps({"id": "q1", "lang": "en", "query": "Who?", "passage": "Nobody."}) + "\noops\n")
    with pytest.raises(DataError, match=r"a\.jsonl:2: malformed JSON"):
        prepare_tfds(config(source), tmp_path / "out", BadRows(skip=False))
    assert not list(tmp_path.glob("out/**/*.array_record*"))


def qa_builder(class_name: str, split: str, examples: list[dict[str, Any]]) -> type[tfds.core.GeneratorBasedBuilder]:
    """A builder with the features of TFDS's own QA datasets (question_answering/qa_utils.py) and their name."""

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = class_name
        VERSION = tfds.core.Version("3.0.0")

        def _info(self) -> tfds.core.DatasetInfo:
            answers = tfds.features.Sequence({"text": tfds.features.Text(), "answer_start": np.int32})
            texts = {name: tfds.features.Text() for name in ("title", "context", "question")}
            features = tfds.features.FeaturesDict({"id": np.str_, **texts, "answers": answers})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            return {split: self._generate_examples()}

        def _generate_examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
            for example in examples:
                yield example["id"], example

    return Builder


def prepare_qa(root: Path, name: str, named_config: str, split: str, *questions: tuple[str, str, str]) -> None:
    examples = [
        {"id": i, "title": "", "context": context, "question": question, "answers": {"text": [], "answer_start": []}}
        for i, question, context in questions
    ]
    builder = qa_builder(name, split, examples)(
        data_dir=root, config=tfds.core.BuilderConfig(name=named_config), file_format="array_record"
    )
    builder.download_and_prepare(file_format="array_record")


def test_xquad_by_name_is_aligned_by_question(tmp_path: Path) -> None:
    prepare_qa(tmp_path, "xquad", "en", "test", ("q1", "Who?", "Nobody did it."), ("q2", "Where?", "A cave."))
    prepare_qa(tmp_path, "xquad", "de", "test", ("q1", "Wer?", "Niemand tat es."), ("q2", " ", "Eine Höhle."))
    both = config("tfds:xquad/en,tfds:xquad/de", split="test", tfds_dir=str(tmp_path))
    bad = BadRows(skip=True)
    rows = by_key(list(read_rows(both, bad)))
    assert set(rows) == {("q1", "en"), ("q1", "de"), ("q2", "en")}
    assert (rows["q1", "de"].query, rows["q1", "de"].passage) == ("Wer?", "Niemand tat es.")
    assert rows["q1", "de"].title is None
    assert bad.count == 1
    assert bad.listed[0].startswith("tfds:xquad/de/test:")
    assert "'question' is empty" in bad.listed[0]
    assert len(fingerprint(both)["sources"]) == 2
    with pytest.raises(DataError, match="holds several TFDS datasets, name one of them: de, en"):
        read("tfds:xquad", split="test", tfds_dir=str(tmp_path))
    with pytest.raises(DataError, match=r"no prepared TFDS dataset .*tfds build"):
        read("tfds:xquad/fr", split="test", tfds_dir=str(tmp_path))


def test_tydi_qa_takes_the_language_from_the_question_id(tmp_path: Path) -> None:
    questions = [("arabic-1-0", "من؟", "لا أحد."), ("swahili-2-0", "Nani?", "Hakuna mtu.")]
    prepare_qa(tmp_path, "tydi_qa", "goldp", "train", *questions)
    assert set(by_key(read("tfds:tydi_qa", tfds_dir=str(tmp_path)))) == {("arabic-1-0", "ar"), ("swahili-2-0", "sw")}


def test_squad_is_english_and_an_unknown_dataset_asks_for_its_language(tmp_path: Path) -> None:
    prepare_qa(tmp_path, "squad", "v1.1", "train", ("q1", "Who?", "Nobody."))
    assert set(by_key(read("tfds:squad/v1.1", tfds_dir=str(tmp_path)))) == {("q1", "en")}
    prepare_qa(tmp_path, "our_qa", "main_part", "train", ("q1", "Kuka?", "Ei kukaan."))
    with pytest.raises(DataError, match=r"tfds:our_qa/main_part/train:0: .*set the dataset's lang"):
        read("tfds:our_qa", tfds_dir=str(tmp_path))
    assert set(by_key(read("tfds:our_qa", tfds_dir=str(tmp_path), lang="fi"))) == {("q1", "fi")}


@pytest.mark.parametrize(
    ("name", "named_config", "split", "question_id", "lang"),
    [
        ("xquad", "de", "translate-train[:5%]", "q1", "de"),
        ("xquad", "de", "translate-test", "q1", "en"),  # translated into English
        ("mlqa", "zh", "validation", "q1", "zh"),
        ("tydi_qa", "goldp", "translate-train-te", "q1", "te"),
        ("tydi_qa", "goldp", "translate-train-te[:5%]", "q1", "te"),
        ("tydi_qa", "goldp", "train", "q1", None),
    ],
)
def test_the_language_of_a_split(name: str, named_config: str, split: str, question_id: str, lang: str | None) -> None:
    assert aligned_tfds._language(name, named_config, split, {"id": question_id.encode()}) == lang


def test_the_highest_version_is_read(tmp_path: Path) -> None:
    for version in ("2.0.0", "10.0.0", "9.1.0"):
        (tmp_path / "xquad" / "en" / version).mkdir(parents=True)
        (tmp_path / "xquad" / "en" / version / "dataset_info.json").write_text("{}")
    assert aligned_tfds.find_prepared(tmp_path / "xquad" / "en").name == "10.0.0"
