"""The embedding store: read as it was written, resumed without a trace, and never read when damaged."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from hybrid_jax.embed.quantization import Dtype, QuantizationLoss, dequantize, measure_loss, quantize
from hybrid_jax.embed.store import EmbeddingStore
from hybrid_jax.embed.store_format import Recipe, StoreError
from hybrid_jax.embed.store_writer import write_store
from hybrid_jax.runs.lock import one_process
from hybrid_jax.runs.workdir import WorkdirError
from hybrid_jax.search.top_k import top_k

DTYPES = ("float32", "float16", "int8")
CORPUS = [(f"d{number}", f"text {number}") for number in range(23)]


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


class Encoder:
    """A vector for each text, drawn from the text itself. Counts the texts."""

    def __init__(self) -> None:
        self.encoded = 0

    def __call__(self, texts: list[str]) -> np.ndarray:
        self.encoded += len(texts)
        return unit(np.array([np.random.default_rng(list(text.encode())).standard_normal(12) for text in texts]))


def recipe(dtype: str = "float32", **changes) -> Recipe:
    return Recipe.model_validate({"model": {"parameters": "a", "texts": {"prompt": "p: "}}, "dtype": dtype, **changes})


def write(folder: Path, dtype: str = "float32", corpus=CORPUS, encoder=None) -> EmbeddingStore:
    return write_store(folder, corpus, encoder or Encoder(), recipe(dtype, rows_per_shard=5))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def vectors_of(store: EmbeddingStore, *rows: int) -> np.ndarray:
    return np.concatenate(list(store.blocks(*rows)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_read_as_it_was_written(tmp_path: Path, dtype: Dtype):
    store = write(tmp_path / "store", dtype)
    assert (len(store), store.dim, store.ids()) == (23, 12, [name for name, _ in CORPUS])
    original, read = Encoder()([text for _, text in CORPUS]), vectors_of(store)
    np.testing.assert_array_equal(read, dequantize(quantize(original, dtype)))
    np.testing.assert_array_equal(read, vectors_of(store, 2))
    assert {len(block) for block in store.blocks(2)} == {1, 2}
    if dtype == "float32":
        np.testing.assert_array_equal(read, original)
    # A float16 keeps 11 bits; int8 half a step of 1/127 of the largest number (twice that: the norm moves too).
    furthest = {"float32": 0.0, "float16": 2**-11, "int8": 1 / 127}[dtype]
    assert np.abs(read - original).max() <= furthest * np.abs(original).max()
    np.testing.assert_allclose(np.linalg.norm(read, axis=1), 1, atol=2**-11)


def test_a_store_is_searched_block_by_block(tmp_path: Path):
    store = write(tmp_path / "store", "float16")
    queries = Encoder()(["one", "two"])
    found, whole = top_k(queries, store.blocks(4), 6), top_k(queries, [vectors_of(store)], 6)
    np.testing.assert_array_equal(found.rows, whole.rows)
    np.testing.assert_array_equal(found.scores, whole.scores)


@pytest.mark.parametrize("dtype", DTYPES)
def test_killed_at_any_moment_it_is_finished_byte_for_byte(tmp_path: Path, dtype: str, monkeypatch: pytest.MonkeyPatch):
    """A kill leaves the folder as it is just before a file is renamed into place, temporary file included."""
    store, moments = tmp_path / "store", []
    rename = Path.replace

    def keep_a_copy(path: Path, target: Path) -> Path:
        listed = len(json.loads((store / "manifest.json").read_text())["shards"]) if moments else 0
        copy = shutil.copytree(store, tmp_path / f"killed-{len(moments)}")
        shutil.rmtree(copy / "lock")  # this process is alive, so that it would count
        moments.append((copy, listed))
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", keep_a_copy)
        write(store, dtype)
    assert [listed for _, listed in moments] == [0, *np.repeat(range(5), 3), 5]
    for killed, listed in moments:
        if moments[0][0] != killed:
            with pytest.raises(StoreError, match=r"rows of an unfinished corpus: run the command that began it"):
                EmbeddingStore(killed)
        assert len(files(killed)) > 0  # at least the temporary file
        encoder = Encoder()
        write(killed, dtype, encoder=encoder)
        assert encoder.encoded == max(0, 23 - 5 * listed)
        assert files(killed) == files(store)


def test_a_complete_store_is_not_encoded_again(tmp_path: Path):
    write(tmp_path / "store")
    before = files(tmp_path / "store")
    encoder = Encoder()
    assert len(write(tmp_path / "store", encoder=encoder)) == 23
    assert encoder.encoded == 0
    assert files(tmp_path / "store") == before


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)


def read_all(folder: Path) -> None:
    store = EmbeddingStore(folder)
    store.ids()
    list(store.blocks())


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [flip, shorten, Path.unlink])
@pytest.mark.parametrize("name", ["00002.npy", "00002.ids.json"])
def test_damage_is_found_and_repaired(tmp_path: Path, name: str, damage):
    folder = tmp_path / "store"
    write(folder)
    before = files(folder)
    damage(folder / name)
    with pytest.raises(StoreError, match=rf"{name}: this shard is damaged \(.*\): run the command that made it again"):
        read_all(folder)
    again = Encoder()
    write(folder, encoder=again)
    assert again.encoded == 5
    assert files(folder) == before


def test_a_damaged_manifest_is_named(tmp_path: Path):
    folder = tmp_path / "store"
    write(folder)
    path = folder / "manifest.json"
    whole = path.read_text(encoding="utf-8")
    for text in (whole[:-40], whole.replace('"rows"', '"lines"'), ""):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(StoreError, match=r"manifest.json is damaged \(.*\): restore it, or delete the folder"):
            EmbeddingStore(folder)
    with pytest.raises(StoreError, match=r"is not a store \(no manifest.json\)"):
        EmbeddingStore(tmp_path)


@pytest.mark.parametrize(
    ("changed", "shard"),
    [
        ([*CORPUS[:7], ("d7", "another text"), *CORPUS[8:]], 1),
        ([*CORPUS[:7], ("another id", "text 7"), *CORPUS[8:]], 1),
        (CORPUS[::-1], 0),
        (CORPUS[:20], 4),
        (CORPUS[:21], 4),
        ([*CORPUS, ("d23", "text 23")], 4),
    ],
)
def test_another_corpus_is_refused_and_nothing_changes(tmp_path: Path, changed, shard: int):
    write(tmp_path / "store")
    before = files(tmp_path / "store")
    with pytest.raises(StoreError, match=rf"shard 0000{shard} was made from other texts"):
        write(tmp_path / "store", corpus=changed)
    assert files(tmp_path / "store") == before


def test_a_corpus_that_grew_is_refused_also_where_its_shards_were_full(tmp_path: Path):
    write(tmp_path / "store", corpus=CORPUS[:10])
    before = files(tmp_path / "store")
    with pytest.raises(StoreError, match="shard 00002 was made from other texts"):
        write(tmp_path / "store", corpus=CORPUS)
    assert files(tmp_path / "store") == before


def test_of_two_writers_the_second_is_refused_and_a_complete_store_has_any_number(tmp_path: Path):
    folder, second = tmp_path / "store", Encoder()

    class Slow(Encoder):
        """While it encodes, another writer comes."""

        def __call__(self, texts: list[str]) -> np.ndarray:
            with pytest.raises(WorkdirError, match=rf"is writing to {folder}: wait .*, or use another folder"):
                write(folder, encoder=second)
            return super().__call__(texts)

    write(folder, encoder=Slow())
    assert second.encoded == 0
    before = files(folder)
    with one_process(folder, "writing to", "folder"):
        assert len(write(folder, encoder=second)) == 23
    flip(folder / "00001.npy")
    with one_process(folder, "writing to", "folder"), pytest.raises(WorkdirError, match="is writing to"):
        write(folder, encoder=second)
    write(folder, encoder=second)
    assert files(folder) == before
    assert second.encoded == 5


def test_a_store_that_another_process_changed_meanwhile_is_left_alone(tmp_path: Path):
    folder, encoder = tmp_path / "store", Encoder()
    write(folder)
    flip(folder / "00001.npy")

    def documents():
        yield from CORPUS[:5]
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps({**manifest, "facts": {"who": "another"}}))
        yield from CORPUS[5:]

    with pytest.raises(StoreError, match="changed by another process while this one read it: repeat the command"):
        write(folder, corpus=documents(), encoder=encoder)
    assert encoder.encoded == 0


@pytest.mark.parametrize("row", [-1, 23])
def test_a_row_that_is_none_is_an_error_of_its_own(tmp_path: Path, row: int):
    write(tmp_path / "store")
    store = EmbeddingStore(str(tmp_path / "store"))
    with pytest.raises(IndexError, match=rf"row {row} of .*, which has rows 0 to 22"):
        store.vectors(np.array([0, row]))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"dtype": "int8"}, "dtype 'float32' instead of 'int8'"),
        ({"side": "queries"}, "side 'passages' instead of 'queries'"),
        ({"rows_per_shard": 6}, "rows_per_shard 5 instead of 6"),
        ({"model": {"parameters": "b", "texts": {"prompt": "p: "}}}, "model.parameters 'a' instead of 'b'"),
        ({"model": {"parameters": "a", "texts": {}}}, "model.texts.prompt 'p: ' instead of None"),
    ],
)
def test_another_recipe_is_refused(tmp_path: Path, changes: dict, told: str):
    write(tmp_path / "store")
    other = recipe().model_copy(update={"rows_per_shard": 5, **changes})
    with pytest.raises(StoreError) as raised:
        write_store(tmp_path / "store", CORPUS, Encoder(), other)
    assert f"was begun with {told}: use the same" in str(raised.value)


def test_a_folder_of_something_else_is_refused(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(StoreError, match="is not empty and not a store"):
        write(tmp_path)
    assert list(files(tmp_path)) == ["thesis.tex"]


def test_the_loss_is_measured_and_written(tmp_path: Path):
    found = {dtype: write(tmp_path / dtype, dtype).manifest.loss for dtype in DTYPES}
    assert found["float32"] is None
    half, byte = found["float16"], found["int8"]
    assert half is not None
    assert byte is not None
    assert 0 < half.max_score_error < byte.max_score_error
    # Of unit vectors: a product with a vector that is off by e is off by at most e.
    first = Encoder()([text for _, text in CORPUS[:5]])
    losses: list[tuple[Dtype, QuantizationLoss]] = [("float16", half), ("int8", byte)]
    for dtype, loss in losses:
        furthest = np.linalg.norm(first - dequantize(quantize(first, dtype)), axis=1).max()
        assert loss.max_score_error <= furthest * (1 + 1e-6)
        assert (loss.queries, loss.rows, loss.top_10_overlap) == (5, 5, 1.0)  # all four others are among the ten best
    written = json.loads((tmp_path / "int8" / "manifest.json").read_text())
    assert written["loss"] == byte.model_dump()


def test_overlap_counts_what_the_ten_best_share():
    # Rows 1 .. 20 are ever further from row 0; as stored, the last ten have changed places with the first.
    angles = np.arange(21) * 0.02
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    stored = rows[[0, *range(11, 21), *range(1, 11)]]
    loss = measure_loss(rows, stored)
    assert loss.queries == 21
    first = loss.top_10_overlap * 21 * 10
    assert first == pytest.approx(round(first))
    assert loss.top_10_overlap < 0.8
    assert loss.max_score_error == pytest.approx(float(np.abs(rows @ rows.T - rows @ stored.T).max()), rel=1e-5)
    assert measure_loss(rows, rows).top_10_overlap == 1


def test_an_encoder_that_changes_its_mind_is_refused(tmp_path: Path):
    sizes = iter([2, 3])
    with pytest.raises(StoreError, match=r"00001.npy: the encoder gave 3 numbers per text, and 2 before"):
        write(tmp_path / "store", encoder=lambda texts: np.ones((len(texts), next(sizes)), np.float32))


def test_vectors_that_are_not_finite_are_refused(tmp_path: Path):
    def encode(texts: list[str]) -> np.ndarray:
        vectors = Encoder()(texts)
        vectors[[text == "text 7" for text in texts]] = np.nan
        return vectors

    with pytest.raises(StoreError, match=r"gave document 'd7' a vector with NaN or infinity \(1 of 5 in this shard\)"):
        write(tmp_path / "store", encoder=encode)
