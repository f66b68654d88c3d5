"""The snippet of docs/models.md runs, with an encoder that is already there."""

import re
from pathlib import Path

import numpy as np
import pytest

import hybrid_jax
from hybrid_jax.embed.load import load

ROOT = Path(__file__).resolve().parents[2]


def snippet(page: str, of: str) -> str:
    """The block of Python code that holds `of`."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.DOTALL)
    (block,) = [block for block in blocks if of in block]
    return block


def test_lines_of_a_file_are_encoded_without_their_newlines(tiny_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    encoder, texts = load(tiny_run.folder), ["Haus Baum", "river town"]
    given: list[str] = []
    encode = encoder.tokenizer.encode
    monkeypatch.setattr(encoder.tokenizer, "encode", lambda texts, limit: given.extend(texts) or encode(texts, limit))
    monkeypatch.setattr(hybrid_jax, "load", lambda *_, **__: encoder)
    monkeypatch.chdir(tmp_path)
    Path("passages.txt").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    names: dict = {}
    exec(snippet("models.md", "encode_passages"), names)
    assert [text.removeprefix(encoder.rules.passage_prompt) for text in given[-2:]] == texts
    np.testing.assert_array_equal(names["passages"], encoder.encode_passages(texts))
    assert names["scores"].shape == (2, 2)
