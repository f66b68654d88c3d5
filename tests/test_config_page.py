"""docs/config.md and the example config say what the config's classes say."""

import sys
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from hybrid_jax.config import Config, flat, load_config
from hybrid_jax.config_page import meanings, page
from hybrid_jax.data.pipeline import Pipeline
from hybrid_jax.train.__main__ import main

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = files("hybrid_jax.train") / "example.yaml"


def test_the_page_is_current():
    assert (ROOT / "docs/config.md").read_text(encoding="utf-8") == page(), "run `make config-page`"


def test_the_page_has_every_field_with_its_meaning():
    rows = [line.split(" | ") for line in page().splitlines() if line.startswith("| `")]
    names = [row[0].removeprefix("| ").strip("`") for row in rows]
    assert all(len(row) == 4 and row[3].removesuffix(" |") for row in rows), [r for r in rows if len(r) != 4]
    assert set(names) >= {field.split(".")[-1] for field in flat(Config().model_dump())}
    assert len(rows) > 80
    assert meanings(Config)["batch_size"] == "Pairs per batch, over all devices and processes together."


def _uncommented(text: str) -> str:
    """The example with its suggestions (`# field: value` or `# - {…}`) switched on, but for `pretrained`."""
    lines = []
    for line in text.splitlines():
        suggestion = line.strip().removeprefix("# ")
        if line.strip().startswith("# ") and suggestion.startswith(("- {", "hard_neg", "heldout_f", "others:")):
            line = line.replace("# ", "", 1)
        lines.append(line)
    return "\n".join(lines)


def test_the_example_is_printed_loads_and_gives_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train", "--example-config"])
    assert main() == 0
    (tmp_path / "my.yaml").write_text(capsys.readouterr().out, encoding="utf-8")
    config = load_config(tmp_path / "my.yaml", ["--data.cache_dir", str(tmp_path / "cache")])
    assert (config.model.encoder.max_length, config.checkpoint.every) == (512, 200)
    batch = Pipeline(config.data, config.mixture, config.batch_size, config.seed).batch(0)
    assert len(batch.ids) == config.batch_size


def test_the_example_s_suggestions_are_fields(tmp_path: Path):
    text = _uncommented(EXAMPLE.read_text(encoding="utf-8"))
    assert len(flat(yaml.safe_load(text))) > len(flat(yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))))
    (tmp_path / "my.yaml").write_text(text, encoding="utf-8")
    config = load_config(tmp_path / "my.yaml")
    assert [dataset.name for dataset in config.data.datasets] == ["demo", "mine", "english_only"]
    assert (config.mixture.others, config.data.hard_negatives) == ("aligned", 1)


@pytest.mark.parametrize("words", [["--help-config"], ["plan", "--help-config"]])
def test_help_config_needs_nothing_else(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "--optimizer.warmup" in capsys.readouterr().out


def test_help_config_shows_the_values_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    (tmp_path / "my.yaml").write_text("steps: 1234\n", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["train", "--config", str(tmp_path / "my.yaml"), "--help-config"])
    with pytest.raises(SystemExit):
        main()
    assert "(default: 1234)" in capsys.readouterr().out


def test_training_without_a_config_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "required: --config, --workdir" in capsys.readouterr().err
