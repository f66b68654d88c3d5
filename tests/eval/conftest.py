"""A small multilingual task and encoders whose rankings can be worked out by hand."""

import re
from collections.abc import Sequence

import numpy as np
import pytest
from support.parallel_task import parallel_task

from hybrid_jax.eval.tasks import RetrievalTask


class KnowsTheRecord:
    """Scores `meaning` for the same record plus `language` for the same language, as a cosine; remembers its inputs."""

    def __init__(self, task: RetrievalTask, meaning: float, language: float) -> None:
        self.languages = sorted({query.language for query in task.queries})
        self.records = sorted({query.id for query in task.queries})
        self.parts = np.sqrt(np.array([meaning, language]) / (meaning + language))
        self.asked: list[str] = []

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        vectors = np.zeros((len(texts), len(self.records) + len(self.languages)), np.float32)
        for row, text in enumerate(texts):
            match = re.fullmatch(r"(\S+) (\S+).*", text)
            assert match
            vectors[row, self.records.index(match[2])] = self.parts[0]
            vectors[row, len(self.records) + self.languages.index(match[1])] = self.parts[1]
        return vectors

    encode_passages = encode_queries


class Random:
    """Directions drawn anew for every text."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        vectors = self.rng.standard_normal((len(texts), 32)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    encode_passages = encode_queries


@pytest.fixture
def make_task():
    return parallel_task


@pytest.fixture
def knows_the_record():
    return KnowsTheRecord


@pytest.fixture
def random_encoder():
    return Random(0)
