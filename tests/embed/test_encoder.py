"""Texts in, unit vectors out: any iterable, in order, on all devices, by the rules of a run or a model's folder."""

import json
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hybrid_jax
from hybrid_jax.embed import encoder as module
from hybrid_jax.embed.load import load
from hybrid_jax.embed.mteb import MtebEncoder
from hybrid_jax.runtime.mesh import MeshConfig, make_mesh

FIXTURES = Path(__file__).parents[1] / "fixtures" / "pretrained"
TEXTS = ["Where is Athens?", "a", "", "Wo liegt " + "sehr " * 30 + "weit?", "北京", "Where is Athens?"]


@pytest.fixture(scope="module")
def e5():
    return hybrid_jax.load(FIXTURES / "e5")


def test_vectors_have_length_1_and_the_texts_order(e5):
    found = e5.encode_queries(TEXTS)
    assert (found.shape, found.dtype) == ((6, e5.dim), np.float32)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    for row, text in enumerate(TEXTS):
        np.testing.assert_allclose(e5.encode_queries([text])[0], found[row], atol=1e-6)


def test_any_iterable_of_any_length_in_chunks(e5, monkeypatch: pytest.MonkeyPatch):
    whole = e5.encode_passages(TEXTS * 3)
    monkeypatch.setattr(module, "TEXTS_AT_ONCE", 4)
    np.testing.assert_allclose(e5.encode_passages(text for text in TEXTS * 3), whole, atol=1e-6)
    assert e5.encode_passages([]).shape == (0, e5.dim)
    assert e5.encode_passages(iter(())).shape == (0, e5.dim)
    with pytest.raises(TypeError, match=r"encode_queries takes a list of texts, not one text: write \['Where"):
        e5.encode_queries("Where is Athens?")


def test_what_is_no_text_is_named_with_its_position(e5, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "TEXTS_AT_ONCE", 4)
    for encode, side in ((e5.encode_queries, "queries"), (e5.encode_passages, "passages")):
        for value, shown in ((None, "NoneType None"), (7, "int 7"), (b"x", "bytes b'x'"), (["x"], r"list \['x'\]")):
            with pytest.raises(TypeError, match=f"^encode_{side}: text 6 is a {shown}, not a text"):
                encode(iter([*TEXTS, value, None]))  # an iterator: the tests' type checker looks into lists
        with pytest.raises(ValueError, match=f"^encode_{side}: text 3 holds half of a surrogate pair"):
            encode(iter([*TEXTS[:3], "A seal \ud83e waves.", *TEXTS]))


def test_a_text_without_tokens_is_refused_with_its_position(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A tokenizer that adds no special tokens gives an empty text none."""
    folder = Path(shutil.copytree(FIXTURES / "modernbert", tmp_path / "bare"))
    tokenizer = folder / "tokenizer.json"
    tokenizer.write_text(json.dumps(json.loads(tokenizer.read_text()) | {"post_processor": None}))
    encoder = hybrid_jax.load(folder)
    monkeypatch.setattr(module, "TEXTS_AT_ONCE", 4)
    for texts, positions in (([""], "0"), (["a"] * 5 + ["", "a", ""], "5, 7")):
        with pytest.raises(ValueError) as told:
            encoder.encode_queries(texts)
        assert str(told.value) == (
            f"encode_queries: the tokenizer gives no tokens to text {positions}, so there is nothing to encode: leave "
            "such texts out, or set query_prompt"
        )
    with pytest.raises(ValueError, match=r"^encode_passages: .* to text 0, so .*, or set passage_prompt$"):
        encoder.encode_passages(["", "a"])
    monkeypatch.setattr(module, "TEXTS_AT_ONCE", 16)
    with pytest.raises(ValueError, match=r"to text 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more, so"):
        encoder.encode_queries([""] * 12)
    prompted = hybrid_jax.load(folder, query_prompt="a")
    np.testing.assert_allclose(prompted.encode_queries([""]), encoder.encode_queries(["a"]), atol=1e-6)


@pytest.fixture
def one(e5):
    """The same encoder on one device."""
    assert e5.mesh.size == jax.device_count() == 8
    alone = make_mesh(MeshConfig(data=1))
    parameters = jax.device_put(jax.device_get(e5.parameters), alone.devices.flat[0])
    return replace(e5, mesh=alone, parameters=parameters)


def test_one_device_gives_what_eight_give(e5, one, monkeypatch: pytest.MonkeyPatch):
    many = [f"{text} {number}" for number in range(30) for text in TEXTS]
    whole = e5.encode_queries(many)
    np.testing.assert_allclose(one.encode_queries(many), whole, atol=1e-6)
    monkeypatch.setattr(module, "tokens_at_once", lambda: 256)  # many calls, of which one device has two in flight
    np.testing.assert_allclose(one.encode_queries(many), whole, atol=1e-6)


def test_two_calls_in_flight_compile_a_program_once(one, monkeypatch: pytest.MonkeyPatch, caplog):
    monkeypatch.setattr(module, "tokens_at_once", lambda: 256)
    module._compiled.cache_clear()
    jax.config.update("jax_log_compiles", True)
    try:
        one.encode_queries(TEXTS * 30)
    finally:
        jax.config.update("jax_log_compiles", False)
    programs = [line for line in caplog.messages if line.startswith("Compiling jit(encode)")]
    assert programs
    assert len(programs) == len(set(programs))


def test_two_calls_are_in_flight_and_none_begins_after_an_error():
    both, begun = threading.Barrier(2), []

    def call(number: int) -> np.ndarray:
        begun.append(number)
        if number < 2:
            both.wait(timeout=60)  # passes only if the other has begun
        elif number == 4:
            raise MemoryError("the device is full")
        else:
            time.sleep(0.05)
        return np.array(number)

    found = module._in_flight(call, [(number,) for number in range(1000)], 2)
    assert [next(found) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(MemoryError, match="the device is full"):
        list(found)
    assert len(begun) < 20


def test_prompts_are_put_before_texts_and_can_be_others(e5):
    bare = hybrid_jax.load(FIXTURES / "e5", query_prompt="", passage_prompt="passage: ")
    np.testing.assert_allclose(
        bare.encode_queries(["query: " + text for text in TEXTS]), e5.encode_queries(TEXTS), atol=1e-6
    )
    np.testing.assert_allclose(bare.encode_passages(TEXTS), e5.encode_passages(TEXTS), atol=1e-6)
    assert np.abs(bare.encode_queries(TEXTS) - e5.encode_queries(TEXTS)).max() > 1e-3
    assert (bare.origin.texts or {})["query_prompt"] == ""


def test_texts_are_cut_where_asked(e5):
    short = hybrid_jax.load(FIXTURES / "e5", max_length=8)
    long, cut = [TEXTS[3]], [TEXTS[3][:200]]
    assert np.abs(short.encode_queries(long) - e5.encode_queries(long)).max() > 1e-3
    np.testing.assert_allclose(short.encode_queries(long), short.encode_queries(cut), atol=1e-6)
    with pytest.raises(ValueError, match="max_length 41: choose from 3 to the encoder's 40 tokens"):
        hybrid_jax.load(FIXTURES / "e5", max_length=41)


def test_bfloat16_is_near(e5):
    half = hybrid_jax.load(FIXTURES / "e5", dtype="bfloat16")
    cosine = (half.encode_queries(TEXTS) * e5.encode_queries(TEXTS)).sum(axis=1)
    assert 0.98 < cosine.min() < 1 - 1e-7


def test_similarity_is_the_cosine(e5):
    scores = e5.similarity(e5.encode_queries(TEXTS), e5.encode_queries(TEXTS))
    assert scores.shape == (6, 6)
    np.testing.assert_allclose(np.diag(scores), 1, atol=1e-6)
    assert scores[0, 5] == pytest.approx(1, abs=1e-6)


def test_a_run_and_its_checkpoints_load(tiny_run):
    latest, step = load(tiny_run.folder), load(tiny_run.folder, step=60)
    assert (latest.origin.step, step.origin.step) == (80, 60)
    by_folder = load(tiny_run.folder / "checkpoints" / "60")
    texts = ["Haus Baum?", "house tree?"]
    np.testing.assert_array_equal(by_folder.encode_queries(texts), step.encode_queries(texts))
    assert np.abs(latest.encode_queries(texts) - step.encode_queries(texts)).max() > 1e-4
    with pytest.raises(ValueError, match="is the checkpoint of step 60, but step 80 was asked for"):
        load(tiny_run.folder / "checkpoints" / "60", step=80)
    with pytest.raises(ValueError, match="is a run, which knows its pooling"):
        load(tiny_run.folder, pooling="cls")
    with pytest.raises(ValueError, match=r"is not a run .*, so it has no step 3"):
        load(FIXTURES / "e5", step=3)


def test_the_package_offers_what_it_lists():
    assert hybrid_jax.load is load
    assert hybrid_jax.MtebEncoder is MtebEncoder
    assert all(getattr(hybrid_jax, name) is not None for name in hybrid_jax.__all__)
    assert set(hybrid_jax.__all__) >= {"MtebEncoder", "__version__", "evaluate", "load", "train"}
    with pytest.raises(AttributeError, match="has no attribute 'lode'"):
        hybrid_jax.lode  # noqa: B018


@given(st.lists(st.integers(1, 700), min_size=1, max_size=80))
def test_a_text_stands_in_the_shortest_rows_that_hold_it_or_fills_longer_ones(lengths: list[int]):
    sizes, seen = np.array(lengths), []
    for length, texts, places in module._packed(sizes):
        seen += texts.tolist()
        assert (places.start + sizes[texts] <= length).all()
        assert len({*zip(places.row.tolist(), places.slot.tolist(), strict=True)}) == len(texts)
        needs = sizes[texts] > (length // 2 if length > module.SHORTEST_ROW else 0)
        assert set(places.row.tolist()) == set(places.row[needs].tolist()) == set(range(places.rows))
        assert length % module.SHORTEST_ROW == 0
    assert sorted(seen) == list(range(len(lengths)))


def test_texts_of_many_lengths_compile_few_programs(e5):
    compiled = module._compiled(e5.model, "queries", e5.mesh)
    before = compiled._cache_size()  # pyright: ignore[reportFunctionMemberAccess]
    for words in range(1, 14):
        e5.encode_queries(["word " * words])
    assert compiled._cache_size() - before <= 1  # pyright: ignore[reportFunctionMemberAccess]


def test_bfloat16_is_near_float32_and_stated():
    exact, rounded = (load(FIXTURES / "e5", dtype=dtype) for dtype in ("float32", "bfloat16"))
    one, other = (encoder.encode_queries(TEXTS) for encoder in (exact, rounded))
    assert 0.999 < np.sum(one * other, axis=1).min() < 1
    assert (one != other).any()
    assert [encoder.origin.stated()["dtype"] for encoder in (exact, rounded)] == ["float32", "bfloat16"]
