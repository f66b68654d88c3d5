"""The command-line options that name a model, shared by all commands that load one.

Imports no jax until a model is loaded, so that `--help` answers at once.
"""

import argparse
import sys
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from hybrid_jax.embed.encoder import TextEncoder


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Adds --ckpt and --step."""
    parser.add_argument(
        "--ckpt",
        required=True,
        metavar="RUN_OR_MODEL",
        help="a run's folder (its --workdir), a Hugging Face or sentence-transformers folder, or a hub id",
    )
    parser.add_argument(
        "--step",
        type=_step,
        metavar="N|best",
        help="the checkpoint's step, or the best one that 'hybrid_jax.eval watch' keeps (default: the latest)",
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """Adds --pooling, --query-prompt, --passage-prompt, --max-length, --truncate-dim and --compute-dtype."""
    model = parser.add_argument_group("what a model's folder may not say (a run always does)")
    model.add_argument("--pooling", choices=("mean", "cls", "pooler"), help="of a plain Hugging Face folder")
    model.add_argument("--query-prompt", metavar="TEXT", help="put before every query, such as 'query: '")
    model.add_argument("--passage-prompt", metavar="TEXT", help="put before every passage")
    model.add_argument("--max-length", type=int, metavar="TOKENS", help="cut texts to so many tokens")
    add_truncation(parser)
    parser.add_argument(
        "--compute-dtype",
        choices=("float32", "bfloat16"),
        help="precision of matrix products (default: a run's own, float32 of a model); bfloat16 is faster",
    )


def add_truncation(parser: argparse.ArgumentParser) -> None:
    """Adds --truncate-dim."""
    parser.add_argument(
        "--truncate-dim",
        type=int,
        metavar="N",
        help="cut vectors to their first N numbers and scale them to length 1 again (Matryoshka)",
    )


def load_from_options(arguments: argparse.Namespace) -> "TextEncoder":
    """Loads the encoder that the options of `add_checkpoint` and `add_model` name. Warnings go to stderr."""
    from hybrid_jax.embed.load import load

    return load(
        arguments.ckpt,
        step=arguments.step,
        pooling=arguments.pooling,
        query_prompt=arguments.query_prompt,
        passage_prompt=arguments.passage_prompt,
        max_length=arguments.max_length,
        dtype=arguments.compute_dtype,
        truncate_dim=arguments.truncate_dim,
        warn=warn,
    )


def warn(line: str) -> None:
    """Prints a warning to stderr."""
    sys.stderr.write(f"warning: {line}\n")


def _step(text: str) -> int | Literal["best"]:
    if text == "best":
        return "best"
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is neither a step's number nor best")
    return int(text)
