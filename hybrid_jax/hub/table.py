"""The table of decisions (`keys.py`) as Markdown, for docs/models.md."""

import json
from collections.abc import Iterable
from itertools import groupby

from hybrid_jax.hub.keys import CONFIG, FILES
from hybrid_jax.model.families import FAMILIES
from hybrid_jax.model.hugging_face import CONFIG_KEYS
from hybrid_jax.model.keys import Key

BEGIN = "<!-- decisions: written by python -m hybrid_jax.hub docs/models.md -->"
END = "<!-- end of decisions -->"


def with_table(page: str) -> str:
    """`page` with the present table between its two marks. Raises ValueError for a page without them."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table()}{END}{after}"


def table() -> str:
    """One row per file, and one per group of keys with the same decision and reason."""
    lines = ["| file | key | decision | |", "|---|---|---|---|"]
    for file in FILES:
        lines.append(f"| `{file.name.replace(', ', '`, `')}` | | **{file.decision}** | {file.why} |")
        groups = [("", file.keys)]
        if file is CONFIG:
            groups = [("", CONFIG_KEYS), *((", ".join(f.model_types), f.config_keys) for f in FAMILIES)]
        for family, keys in groups:
            lines += (f"| {family} {row}" for row in _rows(keys))
        if file.keys:
            unknown = "noted: nothing reads it" if file.unknown == "noted" else "refused by name"
            lines.append(f"| | any other | {unknown} | |")
    return "\n".join(lines) + "\n"


def _rows(keys: Iterable[Key]) -> Iterable[str]:
    for (decision, why, allowed), group in groupby(keys, lambda key: (key.decision, key.why, key.allowed)):
        names = ", ".join(f"`{key.name}`" for key in group)
        shown = " or ".join(f"`{json.dumps(value)}`" for value in allowed)
        decided = f"refused unless {shown}" if decision == "refused" else decision
        yield f"| {names} | {decided} | {why} |"
