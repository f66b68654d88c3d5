"""A debiasing in an exported folder: the folder gives the debiased vectors, and whatever it cannot hold is refused."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybrid_jax.debias.fit import fit
from hybrid_jax.debias.methods import Debiaser
from hybrid_jax.embed.encoder import TextEncoder
from hybrid_jax.embed.identity import model_identity
from hybrid_jax.embed.load import load
from hybrid_jax.export import __main__ as cli
from hybrid_jax.export.debiased import debiased
from hybrid_jax.export.folder import plan, write_folder
from hybrid_jax.export.settings import ExportError
from hybrid_jax.export.verify import BOUNDS, check_same

FIXTURES = Path(__file__).parents[1] / "fixtures" / "pretrained"
WORDS = {"de": "Haus Baum Fluss Stadt", "en": "house tree river town", "es": "casa árbol río ciudad"}
UNSEEN = ["Berg Wald Haus", "hill", "", "monte bosque 9 " * 10]


@pytest.fixture(scope="module")
def run(tiny_run) -> TextEncoder:
    """A trained run without a projection."""
    return load(tiny_run.folder)


def projected(run: TextEncoder, *, bias: bool = True, activation: str = "identity") -> TextEncoder:
    """The same with a random projection to 12 numbers."""
    draw = np.random.default_rng(0)
    layer = {"kernel": draw.normal(size=(16, 12)).astype(np.float32)}
    layer |= {"bias": draw.normal(size=12).astype(np.float32)} if bias else {}
    settings: dict[str, Any] = {"projection_dim": 12, "projection_bias": bias, "projection_activation": activation}
    tower = {**run.parameters["tower"], "projection": layer}
    return replace(run, model=run.model.model_copy(update=settings), parameters={"tower": tower})


def fitted(encoder: TextEncoder, method: Any = "lsar", **facts: Any) -> Debiaser:
    texts = {
        lang: [f"{one} {other}" for one in words.split() for other in words.split()] for lang, words in WORDS.items()
    }
    vectors = encoder.encode_passages([text for held in texts.values() for text in held])
    languages = [lang for lang, held in texts.items() for _ in held]
    debiaser = fit(method, vectors, languages)
    facts = {"model": model_identity(encoder.origin), **facts}
    return replace(debiaser, facts=debiaser.facts.model_copy(update=facts))


@pytest.mark.parametrize("kind", ["no projection", "with a bias", "without a bias"])
def test_the_folder_gives_debiased_vectors(kind: str, run: TextEncoder, tmp_path: Path):
    encoder = run if kind == "no projection" else projected(run, bias=kind == "with a bias")
    debias = fitted(encoder)
    what = plan(encoder, format="sentence-transformers", dtype="float32", debias=debias)
    assert write_folder(what, tmp_path / "out", card="# card\n") < BOUNDS["float32"]
    found = load(tmp_path / "out")
    assert found.dim == encoder.dim
    assert found.model.projection_activation == "identity"
    assert found.model.projection_bias == (kind == "with a bias")
    raw, after = encoder.encode_queries(UNSEEN), found.encode_queries(UNSEEN)
    np.testing.assert_allclose(after, debias.queries(raw), rtol=0, atol=1e-5)
    np.testing.assert_allclose(
        found.encode_passages(UNSEEN), debias.passages(encoder.encode_passages(UNSEEN)), rtol=0, atol=1e-5
    )
    np.testing.assert_allclose(after @ debias.bases[0].T, 0, rtol=0, atol=1e-5)
    assert np.abs(after - raw).max() > 0.01  # there was something to remove


def test_either_of_two_towers_is_debiased(run: TextEncoder, tmp_path: Path):
    tower = run.parameters["tower"]
    encoder = replace(
        run,
        model=run.model.model_copy(update={"tied": False}),
        parameters={"query_tower": tower, "passage_tower": tower},
    )
    debias = fitted(encoder)
    what = plan(encoder, format="sentence-transformers", dtype="float32", tower="passage", debias=debias)
    write_folder(what, tmp_path / "out", card="# card\n")
    found = load(tmp_path / "out").encode_passages(UNSEEN)
    np.testing.assert_allclose(found, debias.passages(encoder.encode_passages(UNSEEN)), rtol=0, atol=1e-5)


def test_the_check_compares_with_debiased_vectors(run: TextEncoder):
    """A folder whose model was left as it was, or debiased twice by another map, does not pass."""
    debias = fitted(run)
    what = plan(run, format="sentence-transformers", dtype="float32", debias=debias)
    assert check_same(what.original, what.encoder, "float32", debias) < BOUNDS["float32"]
    assert what.original.model == run.model
    for wrong in (what.original, debiased(what.encoder, replace(debias, bases=np.eye(16)[None, :1]))):
        with pytest.raises(ExportError, match="reads back at a cosine distance of"):
            check_same(what.original, wrong, "float32", debias)
    with pytest.raises(ExportError, match="reads back at a cosine distance of"):
        check_same(what.original, what.encoder, "float32")


@pytest.mark.parametrize("method", ["center", "lir", "shift"])
def test_a_method_that_is_no_matrix_is_refused(method: str, run: TextEncoder):
    with pytest.raises(ExportError, match=f"{method} moves each language in its own way, .* or with lsar"):
        plan(run, format="sentence-transformers", dtype="float32", debias=fitted(run, method))


def test_what_a_folder_cannot_hold_is_refused(run: TextEncoder):
    def told(encoder: TextEncoder, debias: Debiaser, format: Any = "sentence-transformers") -> str:
        with pytest.raises(ExportError) as caught:
            plan(encoder, format=format, dtype="float32", debias=debias)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    bent = projected(run, activation="tanh")
    assert "the projection of this model ends in tanh, and a folder has no place for lsar" in told(bent, fitted(bent))
    assert "--debias has no place in a plain transformers folder: use --format sent" in told(run, fitted(run), "hf")
    assert "fitted on vectors of 12 numbers, and the model gives 16" in told(run, fitted(projected(run)))
    other = fitted(replace(run, origin=run.origin.model_copy(update={"step": 60})))
    assert "--debias was fitted on another model (step 60 instead of 80): fit it on the one" in told(run, other)
    labse = load(FIXTURES / "labse")
    published = fit("lsar", np.eye(labse.dim, dtype=np.float32)[:2], ["de", "en"])  # says nothing of its model
    assert "the projection of this model ends in tanh" in told(labse, published)


def run_cli(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["export", *arguments])
    monkeypatch.setattr(cli, "keep_freed_memory", lambda: None)  # it is for a whole process
    return cli.main()


def test_the_command_and_the_card_say_it(run: TextEncoder, tiny_run, tmp_path: Path, monkeypatch, capsys):
    path, out = tmp_path / "debias-lsar.npz", tmp_path / "out"
    debias = fitted(run, text_sha256="0123abcd")
    debias.save(path)
    arguments = ["--ckpt", str(tiny_run.folder), "--out", str(out), "--debias", str(path)]
    assert run_cli(monkeypatch, *arguments) == 0
    assert "largest cosine distance to the original's debiased (lsar) embeddings: " in capsys.readouterr().out
    np.testing.assert_allclose(
        load(out).encode_queries(UNSEEN), debias.queries(run.encode_queries(UNSEEN)), rtol=0, atol=1e-5
    )
    card = (out / "README.md").read_text(encoding="utf-8")
    said = "lsar (rank 2), fitted on 16 texts in each of 3 languages"
    assert f"| Debiased by | {said} |" in card
    assert f"- Its embeddings are debiased after training by {said} (text with sha256 0123abcd): they are not" in card


def test_the_command_s_mistakes_leave_nothing(run: TextEncoder, tiny_run, tmp_path: Path, monkeypatch, capsys):
    fitted(run, "lir").save(tmp_path / "lir.npz")
    (tmp_path / "damaged.npz").write_bytes(b"PK")
    arguments = ["--ckpt", str(tiny_run.folder), "--out", str(tmp_path / "out"), "--debias"]

    def told(name: str) -> str:
        assert run_cli(monkeypatch, *arguments, str(tmp_path / name)) == 1
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        return lines[0]

    assert told("lir.npz").startswith("error: lir moves each language in its own way")
    assert "damaged.npz: damaged" in told("damaged.npz")
    assert "no file" in told("nowhere.npz")
    assert not (tmp_path / "out").exists()


def test_a_card_without_debiasing_does_not_speak_of_it(tiny_run, tmp_path: Path, monkeypatch):
    assert run_cli(monkeypatch, "--ckpt", str(tiny_run.folder), "--out", str(tmp_path / "out")) == 0
    assert "ebias" not in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
