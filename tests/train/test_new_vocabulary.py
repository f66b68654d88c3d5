"""A run with a new vocabulary starts from the pretrained body, with rows that are means of the old tokens' rows."""

from pathlib import Path

import numpy as np
import pytest

from hybrid_jax.config import Config, ConfigError, load_config
from hybrid_jax.data.tokenizer import Tokenizer
from hybrid_jax.data.vocabulary import old_tokens
from hybrid_jax.embed.load import load, load_untrained
from hybrid_jax.train.loop import train

MINILM = Path(__file__).parents[1] / "fixtures" / "pretrained" / "minilm"
TEXT = f"""
steps: 4
batch_size: 8
pretrained: {MINILM}
vocabulary: new
data:
  datasets: [{{name: tiny, path: $TINY_ROWS/rows.jsonl}}]
  tokenizer: {{vocab_size: 300}}
  max_query_length: 16
  max_passage_length: 16
  cache_dir: CACHE
optimizer: {{learning_rate: 0.01, warmup_steps: 1}}
mesh: {{data: 2, fsdp: 2}}
checkpoint: {{every: 4}}
"""


@pytest.fixture
def config(tmp_path: Path, tiny_run) -> Config:
    (tmp_path / "run.yaml").write_text(TEXT.replace("CACHE", str(tmp_path / "cache")), encoding="utf-8")
    return load_config(tmp_path / "run.yaml")


def _by_name(parameters: dict, *names: str | int) -> np.ndarray:
    for name in names:
        parameters = parameters[name]
    return np.asarray(parameters)


WORDS = "tower", "encoder", "embeddings", "word", "embedding"


def test_rows_are_means_of_the_old_rows_and_the_body_is_the_folders(config: Config, tmp_path: Path, capsys):
    assert config.model.encoder.vocab_size == 300
    assert (config.data.tokenizer.path, config.model.encoder.hidden_size) == (None, 16)
    train(config, tmp_path / "run")
    before, after, published = load_untrained(tmp_path / "run"), load(tmp_path / "run"), load(MINILM, max_length=16)
    new, old = _by_name(before.parameters, *WORDS), _by_name(published.parameters, *WORDS)
    assert new.shape == (300, 16)
    assert _by_name(after.parameters, *WORDS).shape == (300, 16)

    tokens, drawn = before.tokenizer.texts, []
    wordpieces = published.tokenizer
    for number, text in enumerate(tokens):
        ids = wordpieces.parts([text])[0]
        if number in before.tokenizer.special.values():
            continue
        if ids:
            np.testing.assert_allclose(new[number], old[ids].mean(axis=0), atol=1e-6, err_msg=text)
        else:
            drawn.append(number)
    assert len(tokens) - len(drawn) > 20
    for role in ("cls_token", "sep_token", "pad_token", "unk_token"):
        there, here = published.tokenizer.special[role], before.tokenizer.special[role]
        np.testing.assert_allclose(new[here], old[there], atol=1e-6, err_msg=role)
    assert (
        f"a new vocabulary of {len(tokens):,} tokens: {len(tokens) - len(drawn):,} start as" in capsys.readouterr().out
    )

    # Rows that nothing is said of are as large as the old ones, and differ from one another.
    rest = new[[*drawn, *range(len(tokens), 300)]]
    assert len(np.unique(rest, axis=0)) == len(rest) > 50
    np.testing.assert_allclose(rest.mean(axis=0), old.mean(axis=0), atol=4 * old.std() / len(rest) ** 0.5)
    np.testing.assert_allclose(rest.std(axis=0), old.std(axis=0), rtol=0.5)

    kernel = "tower", "encoder", "layers", 1, "output", "kernel"
    np.testing.assert_array_equal(_by_name(before.parameters, *kernel), _by_name(published.parameters, *kernel))


def test_old_tokens_are_those_of_the_text_and_of_the_special_roles():
    old, new = Tokenizer(MINILM), Tokenizer(MINILM.parent / "e5")
    tokens = old_tokens(old, new)
    assert len(tokens) == new.vocab_size
    for role in ("pad_token", "cls_token", "sep_token", "unk_token", "mask_token"):
        assert tokens[new.special[role]] == [old.special[role]]
        assert new.texts[new.special[role]] == ""
    places = {text: place for place, text in enumerate(new.texts)}
    words = {text: number for number, text in reversed(list(enumerate(old.texts)))}  # not the endings: they come later
    assert tokens[places["Fran"]] == old.parts(["Fran"])[0]
    assert old.decode(tokens[places["Fran"]]).replace(" ", "") == "Fran"
    assert tokens[places["st"]][0] == words["s"]
    assert tokens[places["首"]] == [words["首"]]
    assert tokens[4] == []  # a space


def test_the_command_line_may_ask_for_it(tmp_path: Path, config: Config):
    text = (tmp_path / "run.yaml").read_text().replace("vocabulary: new\n", "")
    (tmp_path / "kept.yaml").write_text(text)
    assert load_config(tmp_path / "kept.yaml").model.encoder.vocab_size == 212
    assert load_config(tmp_path / "kept.yaml", ["--vocabulary", "new"]) == config


def test_a_new_vocabulary_of_nothing_is_refused(tmp_path: Path, config: Config):
    (tmp_path / "bare.yaml").write_text((tmp_path / "run.yaml").read_text().replace(f"pretrained: {MINILM}\n", ""))
    with pytest.raises(ConfigError, match="vocabulary new replaces that of a pretrained model, and there is none"):
        load_config(tmp_path / "bare.yaml")
