"""A known positive is never a negative: a random row with aliases of its positive never counts one as a negative."""

import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_jax.data.dataset import DatasetConfig
from hybrid_jax.data.describe import describe
from hybrid_jax.data.fields import Place, Repairs
from hybrid_jax.data.formats import LINE_FORMATS
from hybrid_jax.data.hashing import mix
from hybrid_jax.data.links import plain, text_key
from hybrid_jax.data.pairing import pair_part
from hybrid_jax.data.pipeline import DataConfig, Pipeline
from hybrid_jax.data.records import Passage, Row
from hybrid_jax.data.schedule import Kind, MixtureConfig, Part
from hybrid_jax.data.squad import squad_rows
from hybrid_jax.data.store import Store
from hybrid_jax.data.store_writer import write_store
from hybrid_jax.data.tokenizer import Tokenizer, TokenizerConfig

MakeStore = Callable[[Iterable[Row]], Store]
PRETRAINED = Path(__file__).parents[1] / "fixtures" / "pretrained"
WORDS = ("Straße", "Café", "ﬁne", "ガラス", "한국어", "über", "Việt", "naïve")
ADDED = ("", " ", "\n\t", "\u00a0", "\u200b", "\u00ad", "\u200d", "\ufe0f", "\ufeff ")
"""What a tokenizer drops or takes for a space."""
EXAMPLES = 80
"""Of each format: five times as many in all."""


@dataclass
class Mention:
    """A document as one row writes it: one of its two texts, perhaps with its title, perhaps with its id."""

    document: int
    text: int
    has_title: bool
    has_id: bool
    written: str
    lang: str = "en"

    @property
    def title(self) -> str | None:
        return f"Title {self.document} {self.lang}" if self.has_title else None

    @property
    def id(self) -> str | None:
        return f"d{self.document}" if self.has_id else None

    @property
    def model_reads(self) -> str:
        return " ".join(filter(None, (self.title, self.written.strip())))

    @property
    def object(self) -> dict[str, Any]:
        return {"text": self.written, "title": self.title, "id": self.id}

    def is_same(self, other: "Mention") -> bool:
        """Whether the two are known to be one passage: by text or by id."""
        same_text = (self.document, self.text, self.lang) == (other.document, other.text, other.lang)
        return same_text or (self.id is not None and self.id == other.id)


@dataclass
class Record:
    """The positives and negatives of one query, or of its translations."""

    positives: list[Mention]
    negatives: list[Mention] = field(default_factory=list)


@st.composite
def mentions(draw: st.DrawFn, titles: bool = True, ids: bool | None = None, lang: str = "en") -> Mention:
    document, text = draw(st.integers(0, 7)), draw(st.integers(0, 1))
    words = [WORDS[document], f"{lang}{'ab'[text]}", *WORDS[document : document + 3]]
    joined = "".join(f"{word} {draw(st.sampled_from(ADDED))}" for word in words)
    form = draw(st.sampled_from(("NFC", "NFD", "NFKC", "NFKD")))
    start = draw(st.sampled_from(ADDED))
    has_title = titles and draw(st.booleans())
    has_id = draw(st.booleans()) if ids is None else ids
    return Mention(document, text, has_title, has_id, start + unicodedata.normalize(form, joined), lang)


@st.composite
def records(draw: st.DrawFn, **how: Any) -> list[Record]:
    some = st.lists(mentions(**how), min_size=1, max_size=3)
    other = st.lists(mentions(**how), max_size=3)
    return [Record(draw(some), draw(other)) for _ in range(draw(st.integers(2, 5)))]


def _place(number: int, lang: str | None = "en") -> Place:
    return Place(f"f:{number}", f"f:{number}", Repairs(), lang)


def _line_rows(name: str, objects: Iterable[dict[str, Any]]) -> list[Row]:
    lang = "en" if name == "tevatron" else None
    return [row for i, record in enumerate(objects) for row in LINE_FORMATS[name](record, _place(i, lang))]


def _components(drawn: list[Record]) -> tuple[list[int], dict[str, int]]:
    """The group of each record, and of each text as a model reads it; by brute force over all pairs of mentions."""
    nodes: list[Mention | int] = [*range(len(drawn)), *(m for r in drawn for m in (*r.positives, *r.negatives))]
    group = list(range(len(nodes)))

    def linked(a: Mention | int, b: Mention | int) -> bool:
        if isinstance(a, int):
            return isinstance(b, Mention) and any(b is positive for positive in drawn[a].positives)
        return isinstance(b, Mention) and a.is_same(b)

    links = [(i, j) for i, a in enumerate(nodes) for j, b in enumerate(nodes) if i < j and linked(a, b)]
    for _ in nodes:
        for i, j in links:
            group[i] = group[j] = min(group[i], group[j])
    texts = {node.model_reads: group[i] for i, node in enumerate(nodes) if isinstance(node, Mention)}
    return group[: len(drawn)], texts


def _check(drawn: list[Record], rows: list[Row], kind: Kind = "monolingual", hard_negatives: int = 2) -> None:
    """The assembled batch of all records masks exactly what the brute force says."""
    with tempfile.TemporaryDirectory() as folder:
        write_store(rows, Path(folder) / "store", dict)
        store = Store(Path(folder) / "store")
        lang = "en" if kind == "monolingual" else None
        pool = store.pools(kind, np.ones(len(store.record_offsets) - 1, bool))[lang]
        part = Part(kind, lang, np.arange(len(pool)), mix(np.arange(len(pool), dtype=np.uint64)))
        pairs = pair_part(store, pool, part, dict.fromkeys(store.languages, 1.0), hard_negatives)
        masked = pairs.groups[:, None] == pairs.passage_groups.reshape(-1)[None, :]
        texts = [store.texts[number] for number in pairs.passages.reshape(-1)]
        numbers = [int(store.ids[record].removeprefix("r")) for record in pairs.records]
    records, groups = _components(drawn)
    expected = np.array([[records[number] == groups[text] for text in texts] for number in numbers])
    assert np.array_equal(masked, expected)


@settings(max_examples=EXAMPLES)
@given(records())
def test_aligned(drawn: list[Record]):
    def write(record: Record, number: int) -> dict[str, Any]:
        first, *further = record.positives
        row = {"id": f"r{number}", "lang": "en", "query": f"query {number}"}
        row |= {"passage": first.written, "title": first.title, "passage_id": first.id}
        lists = {"positives": further, "negatives": record.negatives}
        return row | {
            key: [m.object if m.title or m.id else m.written for m in mentions] for key, mentions in lists.items()
        }

    _check(drawn, _line_rows("aligned", (write(record, i) for i, record in enumerate(drawn))))


@settings(max_examples=EXAMPLES)
@given(st.tuples(records(lang="en"), records(lang="de")), st.sampled_from(("cross_lingual", "same_language")))
def test_translations(drawn: tuple[list[Record], list[Record]], kind: Kind):
    """Two languages of each record: its positives in both are positives of its queries in both."""
    rows: list[Row] = []
    merged: list[Record] = []
    for number, (english, german) in enumerate(zip(*drawn, strict=False)):
        merged.append(Record(english.positives + german.positives, english.negatives + german.negatives))
        for record in (english, german):
            first, *further = record.positives
            row = {"id": f"r{number}", "lang": first.lang, "question": f"{first.lang} {number}", "title": first.title}
            row |= {"passage": first.written, "passage_id": first.id, "positives": [m.object for m in further]}
            rows += _line_rows("qa", [row | {"negatives": [m.object for m in record.negatives]}])
    _check(merged, rows, kind)


@settings(max_examples=EXAMPLES)
@given(st.booleans().flatmap(lambda ids: records(titles=False, ids=ids)))
def test_bge(drawn: list[Record]):
    def write(record: Record, number: int) -> dict[str, Any]:
        row: dict[str, Any] = {"query_id": f"r{number}", "query": f"query {number}"}
        for key, mentions in {"pos": record.positives, "neg": record.negatives}.items():
            ids = {f"{key}_id": [m.id for m in mentions]} if mentions and mentions[0].has_id else {}
            row |= {key: [m.written for m in mentions], **ids}
        return row

    _check(drawn, _line_rows("tevatron", (write(record, i) for i, record in enumerate(drawn))))


@settings(max_examples=EXAMPLES)
@given(records(ids=True))
def test_tevatron(drawn: list[Record]):
    def docs(mentions: list[Mention]) -> list[dict[str, Any]]:
        return [{"docid": m.id, "title": m.title or "", "text": m.written} for m in mentions]

    objects = (
        {
            "query_id": f"r{number}",
            "query": f"query {number}",
            "positive_passages": docs(record.positives),
            "negative_passages": docs(record.negatives),
        }
        for number, record in enumerate(drawn)
    )
    _check(drawn, _line_rows("tevatron", objects))


@settings(max_examples=EXAMPLES)
@given(st.lists(st.tuples(mentions(ids=False), st.integers(1, 3)), min_size=2, max_size=5))
def test_squad(paragraphs: list[tuple[Mention, int]]):
    """Every question of a paragraph is a record; the paragraphs' texts repeat in other forms and titles."""
    drawn: list[Record] = []
    articles = []
    for mention, questions in paragraphs:
        qas = [{"id": f"r{len(drawn) + i}", "question": f"query {len(drawn) + i}"} for i in range(questions)]
        drawn += [Record([mention])] * questions
        articles.append({"title": mention.title or "", "paragraphs": [{"context": mention.written, "qas": qas}]})

    def stop(error: Exception) -> None:
        raise error

    _check(drawn, list(squad_rows({"data": articles}, _place(0), stop)), hard_negatives=0)


@pytest.mark.parametrize(("negative", "masked"), [("To Öland {} go north.", 1.0), ("Öland {} was sold.", 0.0)])
def test_a_batch_masks_a_second_positive_in_another_form(
    tmp_path: Path, write_lines: Callable[[Path, Iterable[Any]], Path], negative: str, masked: float
):
    """From a file to the arrays that the loss compares, and to the lines that training prints first."""
    rows = [
        {
            "query": f"Where is Öland {i}?",
            "pos": [f"Öland {i} is in the north.", f"To Öland {i} go north."],
            "neg": [unicodedata.normalize("NFD", f" {negative.format(i)}")],
        }
        for i in range(32)
    ]
    path = write_lines(tmp_path / "rows.jsonl", rows)
    data = DataConfig(
        datasets=(DatasetConfig(name="d", path=str(path), lang="en"),),
        tokenizer=TokenizerConfig(path=str(PRETRAINED / "minilm")),
        hard_negatives=1,
        cache_dir=str(tmp_path / "cache"),
    )
    pipeline = Pipeline(data, MixtureConfig(weights={"monolingual": 1.0}), batch_size=32, seed=0)
    pairs = pipeline.batch(0).pairs
    same = pairs.groups[:, None] == pairs.passage_groups.ravel()
    assert same.sum() / 32 - 1 == masked
    (note,) = (note for note in pipeline.notes if "linked" in note)
    assert "32 further positives, used for masking" in note
    assert ("32 negatives that are a positive of their own query, masked" in note) == bool(masked)


@given(st.text(), st.sampled_from(("NFC", "NFD")), st.sampled_from(ADDED), st.integers(0, 50))
def test_every_way_to_write_a_text_has_its_plain_form(text: str, form: Literal["NFC", "NFD"], added: str, at: int):
    changed = unicodedata.normalize(form, text)
    changed = changed[:at] + added + changed[at:]
    assert plain(plain(text)) == plain(text)
    if plain(text) != text:  # else the text may be nothing but invisible
        assert plain(unicodedata.normalize(form, text)) == plain(text)
    if text.isascii():  # elsewhere `at` may part a letter from its accent
        assert text_key(f"a{changed}") == text_key(f"a{text}")
    assert text_key(f"{added}a{text}{added}") == text_key(f"a{text}")


def test_the_plain_form_keeps_what_readers_see():
    texts = ["Polish", "polish", "cafe", "café", "a.b", "a,b", "\u200b", "\u00ad", "\ufffd", "한국", "한굴"]
    assert len({plain(text) for text in texts}) == len(texts)
    assert plain("ﬁve ½ km²") == plain("five1⁄2km2")


@pytest.mark.parametrize("family", ["bert", "xlmr", "modernbert"])
def test_characters_that_a_tokenizer_drops_or_takes_for_a_space_are_not_in_the_plain_form(family: str):
    tokenizer = Tokenizer(PRETRAINED / family)
    unused = range(0xD800, 0xE000)  # surrogates
    letters = [chr(code) for code in (*range(0x10000), *range(0xE0000, 0xE0200)) if code not in unused]
    same, _ = tokenizer.encode(["the man", "theman"], 32)
    ids, _ = tokenizer.encode([f"the{letter}man" for letter in letters], 32)
    dropped = [
        letter for letter, row in zip(letters, ids, strict=True) if row.tolist() in [other.tolist() for other in same]
    ]
    assert " " in dropped
    assert [f"{ord(letter):04x}" for letter in dropped if plain(f"the{letter}man") != "theman"] == []


def test_a_shared_negative_is_no_link(make_store: MakeStore):
    def rows() -> Iterator[Row]:
        shared = (Passage("Nobody’s answer", "Title", "n1"),)
        yield Row("a", "en", "q1", "first", negatives=shared)
        yield Row("b", "en", "q2", "second", negatives=shared)

    store = make_store(rows())
    assert len({*store.record_group.tolist(), *store.text_group[store.negatives].tolist()}) == 3


def test_records_with_the_same_query_are_not_linked_but_counted(make_store: MakeStore):
    store = make_store(
        [Row("a", "en", "Who?", "first"), Row("b", "en", " Who? ", "second"), Row("c", "en", "q", "first")]
    )
    assert store.record_group[0] == store.record_group[2] != store.record_group[1]
    counted = "1 queries are also those of another record, whose passage counts as their negative"
    assert any(counted in line for line in describe(store, 0.0))


def test_a_passage_id_without_a_passage_links_its_record(make_store: MakeStore):
    rows = [
        Row("a", "en", "q1", None, passage_id="p"),
        Row("a", "de", "f1", "erste"),
        Row("b", "de", "f2", "zweite", passage_id="p"),
    ]
    assert len(set(make_store(rows).record_group.tolist())) == 1


def test_held_out_records_take_further_positives_along(make_store: MakeStore):
    rows = (Row(f"r{i}", "en", f"q{i}", f"p{i}", further_positives=(Passage(f"p{i ^ 1}"),)) for i in range(400))
    store = make_store(rows)
    held_out = store.held_out(0.3)
    assert not set(store.record_group[held_out]) & set(store.record_group[~held_out])
    assert len(np.unique(store.record_group)) == 200
    assert 0 < held_out.sum() < 400


def test_what_was_linked_is_counted(make_store: MakeStore):
    rows = [
        Row("a", "en", "q1", "Grüße", "Post", (Passage("Gru\u0308ße"), Passage("else")), "d1"),
        Row("b", "en", "q2", "two", None, (Passage("deux", None, "d2"),), "d2", further_positives=(Passage("zwei"),)),
        Row("c", "en", "q3", "three", None, (Passage("else "), Passage("zwei"))),
    ]
    store = make_store(rows)
    assert store.meta["linked"] == {
        "further_positives": 1,
        "own_negatives": 2,  # Grüße without its title, and deux by its id
        "plain": 1,  # "else "
        "untitled": 1,
        "ids": 1,
        "queries": 0,
    }
    (line,) = (line for line in describe(store, 0.0) if "linked" in line)
    assert line.split("queries: ")[1].split("; ") == [
        "1 further positives, used for masking",
        "2 negatives that are a positive of their own query, masked",
        "1 texts equal to another but for Unicode form, white space or invisible characters",
        "1 texts equal to another but for the title",
        "1 texts with the document id of another",
    ]


@pytest.mark.parametrize("count", [0, 3])
def test_a_store_without_negatives_or_titles_has_groups_too(make_store: MakeStore, count: int):
    store = make_store(
        [Row("q", "en", "only a query", None), *(Row(f"r{i}", "en", "q", f"p{i}") for i in range(count))]
    )
    assert len(np.unique(store.record_group)) == 1 + count
