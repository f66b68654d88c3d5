"""A model card as text, and its parts."""

import re
from typing import Any

import yaml

from hybrid_jax.embed.encoder import TextEncoder
from hybrid_jax.export.card import write_card
from hybrid_jax.export.folder import plan
from hybrid_jax.export.settings import Format
from hybrid_jax.runs.provenance import provenance


def written(encoder: TextEncoder, format: Format = "sentence-transformers", **how: Any) -> str:
    trained_on, results, dtype = how.pop("trained_on", None), how.pop("results", None), how.pop("dtype", "float32")
    return write_card(plan(encoder, format=format, dtype=dtype, **how), "a model", trained_on, results, provenance())


def header(card: str) -> dict[str, Any]:
    return yaml.safe_load(card.split("---\n")[1])


def cells(card: str, heading: str) -> list[list[str]]:
    """The rows of the table whose header begins with `heading`."""
    rows = card[card.index(f"| {heading} |") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
