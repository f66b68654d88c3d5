"""What a value of a query belongs to: a setting, a mode of search, a searched pool, or mined bitext."""

from collections.abc import Mapping
from typing import Literal, get_args

from hybrid_jax.eval.measures.catalogue import SETTING_LABELS, SETTINGS, Setting

Mode = Literal["pooled", "language_oracle", "balanced"]
"""How a pool of several languages is searched; `modes.py` defines them."""
MODES: tuple[Mode, ...] = get_args(Mode)
MODE_LABELS: Mapping[Mode, str] = {"pooled": "pooled", "language_oracle": "language oracle", "balanced": "balanced"}

Part = Setting | Mode | Literal["search", "bitext"]
PARTS: tuple[Part, ...] = (*SETTINGS, "search", "bitext", *MODES)
PART_LABELS: Mapping[Part, str] = {**SETTING_LABELS, "search": "", "bitext": "", **MODE_LABELS}
