"""YAML that stands for far more than it says is refused before anything walks through it."""

import pytest
import yaml

from hybrid_jax.config import ConfigError, parse_config
from hybrid_jax.disk.yaml_text import MAX_CHARACTERS, parse_yaml

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def test_ordinary_text_and_a_few_aliases_are_read():
    assert parse_yaml("a: &x {b: [1, 2.5, null]}\nc: *x") == {"a": {"b": [1, 2.5, None]}, "c": {"b": [1, 2.5, None]}}
    assert parse_yaml("") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BOMB, r"aliases .* more than 100,000 values"),
        ("a: &a [*a]", "nested too deeply, or in itself"),
        ("[" * 5000, "nested too deeply"),
        ("x" * (MAX_CHARACTERS + 1), "more than the limit"),
        ("a: [", "expected"),
    ],
)
def test_what_is_too_much_is_refused_with_a_reason(text: str, reason: str):
    with pytest.raises(yaml.YAMLError, match=reason):
        parse_yaml(text)


def test_a_config_of_aliases_is_one_line():
    assert len(BOMB) < 450
    with pytest.raises(ConfigError, match=r"^bomb.yaml: not YAML: its aliases .*: write the values instead$"):
        parse_config(BOMB, "bomb.yaml")
