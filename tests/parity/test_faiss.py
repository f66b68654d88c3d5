"""faiss reads an embedding store: the same neighbours from its exact index, nearly the same from an approximate one."""

import re
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from hybrid_jax.embed.store import EmbeddingStore
from hybrid_jax.embed.store_format import Recipe
from hybrid_jax.embed.store_writer import write_store
from hybrid_jax.search.top_k import top_k

DOCS = Path(__file__).parents[2] / "docs" / "search.md"


class Directions:
    """Text "17" is direction 17 of many, drawn around a few centres."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        vectors = rng.standard_normal((40, 1, 64)) + 0.5 * rng.standard_normal((40, 75, 64))
        vectors = vectors.reshape(-1, 64).astype(np.float32)
        self.vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def encode_queries(self, texts: list[str]) -> np.ndarray:
        return self.vectors[:: len(self.vectors) // len(texts)][: len(texts)]

    def encode_passages(self, texts: list[str]) -> np.ndarray:
        return self.vectors[[int(text) for text in texts]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    names = ((f"d{row}", str(row)) for row in range(3000))
    recipe = Recipe(model={}, side="passages", dtype="float32", rows_per_shard=1024)
    write_store(tmp_path / "store", names, Directions().encode_passages, recipe, {})
    return tmp_path


def test_its_exact_index_finds_what_we_find(folder: Path):
    store, queries = EmbeddingStore(folder / "store"), Directions().encode_queries([""] * 50)
    index = faiss.IndexFlatIP(store.dim)
    for block in store.blocks():
        index.add(block)
    assert (index.search(queries, 10)[1] == top_k(queries, store.blocks(), 10).rows).all()


def test_the_documented_lines_run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    snippet = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(snippet) == 1
    monkeypatch.chdir(folder)
    known: dict[str, Any] = {"encoder": Directions()}
    exec(snippet[0], known)
    store = EmbeddingStore(Path("store"))
    exact = top_k(known["encoder"].encode_queries(["one"]), store.blocks(), 10).rows[0]
    assert len({*known["rows"][0].tolist()} & {*exact.tolist()}) >= 8
    assert f"'d{exact[0]}'" in capsys.readouterr().out


def test_the_documented_lines_name_no_document_where_faiss_finds_fewer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """faiss fills up its list with -1, which would name the last document."""
    names = ((f"d{row}", str(row)) for row in range(3))
    recipe = Recipe(model={}, side="passages", dtype="float32", rows_per_shard=1024)
    write_store(tmp_path / "store", names, Directions().encode_passages, recipe, {})
    monkeypatch.chdir(tmp_path)
    (snippet,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    exec(snippet, {"encoder": Directions()})
    assert sorted(re.findall(r"d\d+", capsys.readouterr().out)) == ["d0", "d1", "d2"]
