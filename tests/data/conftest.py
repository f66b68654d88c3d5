"""A tiny aligned corpus, and a pipeline over it that all tests of this folder share."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from hybrid_jax.data.dataset import DatasetConfig
from hybrid_jax.data.pipeline import DataConfig, Pipeline
from hybrid_jax.data.records import Row
from hybrid_jax.data.schedule import MixtureConfig
from hybrid_jax.data.store import Store
from hybrid_jax.data.store_writer import write_store
from hybrid_jax.data.tokenizer import TokenizerConfig

LANGUAGES = ("de", "en", "th")
WORDS = {
    "de": ["Wasser", "Straße", "größer", "Berg", "kalt", "Übung", "Haus"],
    "en": ["water", "street", "larger", "mountain", "cold", "practice", "house"],
    "th": ["น้ำ", "ถนน", "ใหญ่กว่า", "ภูเขา", "เย็น", "ฝึก", "บ้าน"],
}


def _text(lang: str, number: int, words: int) -> str:
    return " ".join(WORDS[lang][(number * 3 + place * (number % 5 + 1)) % 7] for place in range(words)) + f" {number}"


@pytest.fixture(scope="session")
def tiny_rows() -> list[dict[str, Any]]:
    """128 records in three languages, all different; every fourth record has hard negatives in its own language."""
    return [
        {
            "id": f"r{i}",
            "lang": lang,
            "query": f"{_text(lang, i, 3 + i % 4)}?",
            "passage": _text(lang, i, 6 + i % 9),
            "negatives": [f"{_text(lang, i, 5)} nicht {n}" for n in range(3)] if i % 4 == 0 else [],
        }
        for i in range(128)
        for lang in LANGUAGES
    ]


@pytest.fixture(scope="session")
def write_lines() -> Callable[[Path, Iterable[Any]], Path]:
    """write_lines(path, objects): a JSONL file of them."""

    def write(path: Path, objects: Iterable[Any]) -> Path:
        path.write_text("".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in objects), encoding="utf-8")
        return path

    return write


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[[Iterable[Row]], Store]:
    """make_store(rows): their store, in a folder of this test."""

    def make(rows: Iterable[Row]) -> Store:
        folder = tmp_path / f"store{len(list(tmp_path.iterdir()))}"
        write_store(rows, folder, lambda: {"name": "made", "source": {}, "notes": []})
        return Store(folder)

    return make


@pytest.fixture(scope="session")
def tiny_config(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_rows: list[dict[str, Any]],
    write_lines: Callable[[Path, Iterable[Any]], Path],
) -> DataConfig:
    """The data config of the tiny corpus; its cache is filled by whoever comes first."""
    folder = tmp_path_factory.mktemp("tiny")
    path = write_lines(folder / "tiny.jsonl", tiny_rows)
    return DataConfig(
        datasets=(DatasetConfig(name="tiny", path=str(path)),),
        tokenizer=TokenizerConfig(vocab_size=300, training_characters=20_000),
        max_query_length=24,
        max_passage_length=40,
        hard_negatives=1,
        cache_dir=str(folder / "cache"),
    )


@pytest.fixture(scope="session")
def tiny_pipeline(tiny_config: DataConfig) -> Pipeline:
    """All three kinds in turn, 64 rows per batch, one hard negative."""
    mixture = MixtureConfig(weights={"monolingual": 1, "same_language": 1, "cross_lingual": 1})
    return Pipeline(tiny_config, mixture, batch_size=64, seed=0)
