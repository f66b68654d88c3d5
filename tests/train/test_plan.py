"""`train plan`: what it says is what the compiler says of the programs that the run compiles."""

import re
import sys
from pathlib import Path

import jax
import pytest

from hybrid_jax.config import Config, ConfigError, parse_config
from hybrid_jax.runtime.mesh import MeshConfig
from hybrid_jax.train.__main__ import main
from hybrid_jax.train.plan import plan


@pytest.fixture(scope="module")
def config(tiny_run) -> Config:
    return parse_config(tiny_run.yaml)


def said(config: Config, **options: int) -> str:
    lines: list[str] = []
    plan(config, False, lines.append, **options)
    return "\n".join(lines)


def test_it_says_what_a_device_holds_and_the_programs_of_the_run(config: Config, tiny_run):
    text = said(config, memory=2**30)
    layout = re.search(r"rows of .* of positions are text", tiny_run.printed)
    assert layout is not None
    assert layout.group() in text
    programs = re.findall(r"program of \d+ rows: .* held and .* while it runs; collectives: (.*)", text)
    assert 1 <= len(programs) <= 3
    assert all("all-reduce" in collectives for collectives in programs)  # of the gradients
    assert text.endswith("of 1.00 GiB")


def test_sizes_are_those_of_the_arrays(config: Config):
    """The tiny model's parameters are counted by hand; Adam has two moments of each, and fsdp splits matrices."""
    hidden, words, positions, types, fed = 16, 300, 16, 1, 32
    layer = 4 * (hidden * hidden + hidden) + 2 * hidden * fed + fed + hidden + 4 * hidden
    parameters = (words + positions + types) * hidden + 2 * hidden + layer
    whole = said(config, memory=2**30)
    assert f"{parameters:,} parameters: bert, 1 layer of 16, mean pooling, vectors of 16" in whole
    assert f"{4 * parameters / 2**10:.1f} KiB of parameters and {(8 * parameters + 8) / 2**10:.1f} KiB of " in whole
    split = said(config.model_copy(update={"mesh": MeshConfig(data=1, fsdp=2)}), memory=2**30)
    matrices = parameters - 2 * hidden - (5 * hidden + fed + 4 * hidden)
    (on_each,) = re.findall(r"(\d+\.\d) KiB of parameters and .* of moments on each device", split)
    assert float(on_each) == pytest.approx(4 * (parameters - matrices / 2) / 2**10, abs=0.06)


def test_smaller_microbatches_need_less_and_a_run_that_does_not_fit_is_refused(config: Config):
    wide = config.model.encoder.model_copy(update={"hidden_size": 128, "intermediate_size": 512})
    model = config.model.model_copy(update={"encoder": wide})
    data = config.data.model_copy(update={"heldout_fraction": 0.0})
    large = config.model_copy(update={"batch_size": 24, "mesh": MeshConfig(data=1), "model": model, "data": data})

    def needed(config: Config) -> float:
        return max(float(size) for size in re.findall(r"held and (\S+) MiB while it runs", said(config, memory=2**30)))

    assert needed(large.model_copy(update={"microbatch_rows": 2})) < 0.8 * needed(large)
    with pytest.raises(
        ConfigError, match=r"a step needs .* MiB on each device, which has 1\.0 MiB: set microbatch_rows"
    ):
        said(large, memory=2**20)


def test_the_command_needs_no_workdir_and_writes_none(
    tiny_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "tiny.yaml").write_text(tiny_run.yaml, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train", "plan", "--config", "tiny.yaml", "--steps", "40"])
    assert main() == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("fits: ")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]
    assert jax.device_count() == 8
