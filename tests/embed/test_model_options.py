"""The options that name a model mean the same in every command."""

import argparse

import pytest

from hybrid_jax.embed.model_options import add_checkpoint


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    add_checkpoint(parser)
    return parser


@pytest.mark.parametrize(("written", "step"), [([], None), (["--step", "40"], 40), (["--step", "best"], "best")])
def test_a_step_is_a_number_or_best(parser: argparse.ArgumentParser, written: list[str], step: int | str | None):
    assert parser.parse_args(["--ckpt", "run", *written]).step == step


@pytest.mark.parametrize("written", ["bets", "-1", "4.5", ""])
def test_another_step_is_refused(parser: argparse.ArgumentParser, capsys, written: str):
    with pytest.raises(SystemExit):
        parser.parse_args(["--ckpt", "run", f"--step={written}"])
    assert f"{written!r} is neither a step's number nor best" in capsys.readouterr().err
