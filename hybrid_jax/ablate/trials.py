"""The trials of a search as a page and a CSV file, the best first."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hybrid_jax.disk.files import atomic_files, write_text
from hybrid_jax.eval.report.page import environment


class Trial(NamedTuple):
    """A finished trial."""

    number: int
    """From 0 on, as its folder is called."""
    value: float | None
    """Held-out accuracy at its last step; None for a trial that failed."""
    fields: dict[str, Any]
    """The values that were tried, by dotted field."""


def write_trials(folder: Path, trials: Sequence[Trial], command: str) -> Path:
    """Writes trials.csv and page/index.html, and returns the page's path. `trials` are in the order to be shown."""
    fields = list(dict.fromkeys(field for trial in trials for field in trial.fields))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["trial", "heldout_accuracy", *fields])
    for trial in trials:
        value = "" if trial.value is None else trial.value
        writer.writerow([f"{trial.number:04d}", value, *(trial.fields.get(field) for field in fields)])
    write_text(folder / "trials.csv", text.getvalue())
    page = (
        environment("hybrid_jax.ablate")
        .get_template("search.html")
        .render(name=folder.resolve().name, trials=trials, fields=fields, command=command)
    )
    atomic_files(folder / "page", {"index.html": page.encode()})
    return folder / "page" / "index.html"
