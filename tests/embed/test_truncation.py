"""Vectors cut to their first numbers: equal to cutting them afterwards, and never taken for those of another cut."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import hybrid_jax
from hybrid_jax.embed.encoder import TextEncoder
from hybrid_jax.embed.identity import embedding_identity, model_identity
from hybrid_jax.embed.load import load
from hybrid_jax.embed.truncation import truncated
from hybrid_jax.eval import __main__ as cli
from hybrid_jax.export.folder import plan, write_folder
from hybrid_jax.model.dual_encoder import ModelConfig, initialize

FIXTURES = Path(__file__).parents[1] / "fixtures" / "pretrained"
TEXTS = ["Where is Athens?", "", "Wo liegt " + "sehr " * 30 + "weit?"]


def cut(vectors: np.ndarray, count: int) -> np.ndarray:
    first = vectors[:, :count]
    return first / np.linalg.norm(first, axis=1, keepdims=True)


@pytest.mark.parametrize("name", ["e5", "labse"])
def test_equal_to_cutting_the_vectors(name: str, tmp_path: Path):
    """e5 has no projection, LaBSE one with a bias and tanh. The exported folder gives the cut vectors by itself."""
    whole, short = load(FIXTURES / name), hybrid_jax.load(FIXTURES / name, truncate_dim=7)
    assert short.dim == 7
    for side in ("encode_queries", "encode_passages"):
        expected = cut(getattr(whole, side)(TEXTS), 7)
        np.testing.assert_allclose(getattr(short, side)(TEXTS), expected, rtol=0, atol=1e-6)
    write_folder(plan(short, format="sentence-transformers", dtype="float32"), tmp_path / "out", card="")
    again = load(tmp_path / "out")
    np.testing.assert_allclose(again.encode_queries(TEXTS), short.encode_queries(TEXTS), rtol=0, atol=1e-6)


def test_both_towers_are_cut():
    e5 = load(FIXTURES / "e5")
    model = ModelConfig(encoder=e5.model.encoder, tied=False, learn_temperature=True)
    two = TextEncoder(e5.tokenizer, model, e5.rules, initialize(model, 0), e5.mesh, e5.origin)
    short = truncated(two, 5)
    for side in ("encode_queries", "encode_passages"):
        expected = cut(getattr(two, side)(TEXTS), 5)
        np.testing.assert_allclose(getattr(short, side)(TEXTS), expected, rtol=0, atol=1e-6)


def test_two_cuts_have_two_identities():
    encoders = [load(FIXTURES / "e5", truncate_dim=count) for count in (4, 8)] + [load(FIXTURES / "e5")]
    for identity in (embedding_identity, lambda encoder: model_identity(encoder.origin)):
        assert len({json.dumps(identity(encoder)) for encoder in encoders}) == 3
    assert [encoder.origin.name for encoder in encoders] == ["e5, 4 dimensions", "e5, 8 dimensions", "e5"]
    all_of_them = load(FIXTURES / "e5", truncate_dim=encoders[-1].dim)
    assert embedding_identity(all_of_them) == embedding_identity(encoders[-1])


@pytest.mark.parametrize("count", [0, -1, 10_000])
def test_what_cannot_be_cut_is_one_line(count: int):
    with pytest.raises(ValueError, match=rf"^truncate_dim {count}: .* of e5 have \d+ numbers: choose from 1 to"):
        load(FIXTURES / "e5", truncate_dim=count)


def test_the_commands_cut_and_a_store_of_another_cut_is_refused(tiny_run, tmp_path: Path, monkeypatch, capsys):
    def run(*arguments: str) -> int:
        monkeypatch.setattr(cli, "keep_freed_memory", lambda: None)  # it is for a whole process
        monkeypatch.setattr(sys, "argv", ["eval", *arguments])
        return cli.main()

    model = ["--ckpt", str(tiny_run.folder)]
    out = tmp_path / "out"
    assert run(*model, "--tasks", "demo", "--untrained", "--truncate-dim", "4", "--out", str(out)) == 0
    assert json.loads((out / "report.json").read_text())["provenance"]["truncate_dim"] == 4
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"_id": "d1", "title": "", "text": "Haus"}))
    embed = ["embed", *model, "--corpus", str(tmp_path / "corpus.jsonl"), "--out", str(tmp_path / "store")]
    assert run(*embed, "--truncate-dim", "4") == 0
    assert "1 rows of 4 numbers" in capsys.readouterr().out
    assert run(*embed, "--truncate-dim", "8") == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert "projection_dim 4 instead of 8" in told[0]
