"""A debiased export gives, in sentence-transformers, what our debiasing makes of the original's vectors there."""

from itertools import pairwise
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer
from support.reference import TEXTS

from hybrid_jax.debias.fit import fit
from hybrid_jax.debias.texts import read_text
from hybrid_jax.embed.load import load
from hybrid_jax.export.folder import plan, write_folder

FIXTURES = Path(__file__).parents[1] / "fixtures" / "pretrained"


def check(folder: Path, texts: list[str], languages: list[str], out: Path) -> None:
    """Fits lsar on sentence-transformers' vectors of `texts`, exports, and compares on other texts."""
    raw = SentenceTransformer(str(folder), device="cpu")
    debias = fit("lsar", np.asarray(raw.encode_document(texts, normalize_embeddings=True)), languages)
    write_folder(
        plan(load(folder), format="sentence-transformers", dtype="float32", debias=debias), out, card="# card\n"
    )
    exported = SentenceTransformer(str(out), device="cpu")
    for encode in ("encode_query", "encode_document"):
        before, after = (np.asarray(getattr(model, encode)(list(TEXTS))) for model in (raw, exported))
        found, moved = distance(debias.queries(before), after), distance(before, after)
        print(f"{folder.name}, {encode}: cosine distance {found:.1e}; to the vectors before {moved:.1e}")
        assert found <= 1e-6
        assert moved > 1e-3


def distance(one: np.ndarray, other: np.ndarray) -> float:
    one, other = (vectors.astype(np.float64) for vectors in (one, other))
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float((1 - (one * other).sum(axis=1) / norms).max())


def test_the_real_weights(minilm: Path, real_data: Path, tmp_path: Path):
    bitext = real_data / "train" / "bitext_ntrex128_11way.jsonl.gz"
    found = read_text([bitext], set(TEXTS), 50, languages=("ar", "de", "en", "th"))
    languages = [name for name, texts in found.texts.items() for _ in texts]
    check(minilm, [text for texts in found.texts.values() for text in texts], languages, tmp_path / "out")


def test_a_dense_module_that_is_there_already(tmp_path: Path):
    texts = [" ".join(pair) for pair in pairwise(TEXTS)]
    check(FIXTURES / "mmbert", texts, [f"l{number % 3}" for number in range(len(texts))], tmp_path / "out")
