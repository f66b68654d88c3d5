"""`python -m hybrid_jax.data` shows what training would read, and says in one line what is wrong."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from hybrid_jax.data.__main__ import main
from hybrid_jax.data.pipeline import DataConfig, Pipeline
from hybrid_jax.data.schedule import MixtureConfig

Command = Callable[..., int]
BATCH = 16


@pytest.fixture
def config_file(tmp_path: Path, tiny_config: DataConfig) -> Path:
    path = tmp_path / "tiny.yaml"
    content = {"batch_size": BATCH, "seed": 3, "data": tiny_config.model_dump(mode="json")}
    content["model"] = {"encoder": {"max_length": 64}}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.fixture
def command(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """command("describe", …): what `main` returns, in this process (a process of its own takes seconds to start)."""

    def run(*arguments: str, config: Path = config_file) -> int:
        name, *rest = arguments
        monkeypatch.setattr(sys, "argv", ["data", name, "--config", str(config), *rest])
        return main()

    return run


def test_preview_in_a_process_of_its_own_shows_the_batches_of_training(config_file: Path, tiny_config: DataConfig):
    asked = ["preview", "--config", str(config_file), "--steps", "7:15", "--mixture.monolingual_fraction", "0.25"]
    done = subprocess.run(
        [sys.executable, "-m", "hybrid_jax.data", *asked], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    pipeline = Pipeline(tiny_config, MixtureConfig(monolingual_fraction=0.25), BATCH, seed=3)
    _, *lines, last = done.stdout.splitlines()
    assert len(lines) == 8
    for step, line in zip(range(7, 15), lines, strict=True):
        batch = pipeline.batch(step)
        assert line.split()[:2] == [str(step), batch.plan.kind]
        assert batch.digest in line
    assert last == "8 batches: 6 cross_lingual (75.0%), 2 monolingual (25.0%)"


def test_preview_prints_texts_as_the_model_reads_them(command: Command, capsys: pytest.CaptureFixture[str]):
    prompts = ["--data.query_prompt", "water ", "--data.passage_prompt", "street "]  # the tokenizer knows few letters
    assert command("preview", "--steps", "0:2", "--texts", *prompts) == 0
    lines = capsys.readouterr().out.splitlines()[-6:]
    assert [line.split(",")[0] for line in lines[::3]] == ["step 0", "step 1"]
    assert all(line.startswith("  water ") for line in lines[1::3])
    assert all(line.startswith("  street ") for line in lines[2::3])


def test_describe_counts_without_tokenising(command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert command("describe", "--data.cache_dir", str(tmp_path / "cache")) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("tiny: 128 records, 384 rows in 3 languages")
    assert [line.split() for line in printed.splitlines()[-3:]] == [
        ["de", "-", "128", "128"],
        ["en", "128", "-", "128"],
        ["th", "128", "128", "-"],
    ]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["stores"]


def test_prepare_fills_the_cache_and_writes_tfds(command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    cache = str(tmp_path / "cache")
    assert command("prepare", "--data.cache_dir", cache, "--tfds", str(tmp_path / "tfds")) == 0
    printed = capsys.readouterr().out
    for found in ("reading tiny", "training a Unigram tokenizer", "tokenising 384 query texts", "tiny: 128 records"):
        assert found in printed
    (folder,) = [line.rpartition(" path tfds:")[2] for line in printed.splitlines() if " path tfds:" in line]
    assert command("describe", "--data.cache_dir", cache) == 0
    printed = capsys.readouterr()
    assert printed.err == ""  # nothing is read again
    written = tmp_path / "written.yaml"
    written.write_text(
        f"data: {{datasets: [{{name: tiny, path: 'tfds:{folder}'}}], cache_dir: {cache}}}", encoding="utf-8"
    )
    assert command("describe", config=written) == 0
    assert capsys.readouterr().out == printed.out


@pytest.mark.parametrize("name", ["prepare", "describe", "preview"])
def test_bad_rows_are_one_line_and_can_be_skipped(
    command: Command, name: str, tmp_path: Path, tiny_config: DataConfig, capsys: pytest.CaptureFixture[str]
):
    whole = Path(tiny_config.datasets[0].path).read_text(encoding="utf-8")
    (tmp_path / "bad.jsonl").write_text(f"{whole}not json\n", encoding="utf-8")
    config = tmp_path / "bad.yaml"
    data = {"datasets": [{"name": "bad", "path": str(tmp_path / "bad.jsonl")}], "cache_dir": str(tmp_path / "cache")}
    data["tokenizer"] = {"path": str(_tokenizer_folder(tiny_config))}
    config.write_text(yaml.safe_dump({"batch_size": BATCH, "data": data, "model": {"encoder": {"max_length": 256}}}))
    assert command(name, config=config) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: {tmp_path}/bad.jsonl:385: malformed JSON")
    assert command(name, "--skip-bad-rows", config=config) == 0
    assert ("1 bad rows skipped" in capsys.readouterr().out) == (name != "preview")


def _tokenizer_folder(config: DataConfig) -> Path:
    return Pipeline(config, MixtureConfig(), BATCH, seed=0).tokenizer.folder


@pytest.mark.parametrize("steps", ["5", "5:5", "9:3", "-1:3", "a:b"])
def test_steps_that_are_no_range_are_refused(command: Command, steps: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        command("preview", f"--steps={steps}")
    assert f"{steps!r} is not FIRST:END" in capsys.readouterr().err


def test_a_config_that_is_not_there_is_one_line(command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert command("describe", config=tmp_path / "tinny.yaml") == 1
    assert (
        capsys.readouterr().err == f"error: no config file {tmp_path}/tinny.yaml: did you mean {tmp_path}/tiny.yaml?\n"
    )
