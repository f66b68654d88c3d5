"""Where an encoder's parameters came from, as reports, model cards and debiasings state it."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Origin(BaseModel):
    """The folder that an encoder was loaded from, and what else is recorded about it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["run", "sentence-transformers", "Hugging Face"]
    """A training run's folder (its --workdir), or the format of a published model's folder."""
    folder: Path
    step: int | None = None
    """For a run: the number of training steps; 0 before the first one."""
    config: dict[str, Any] | None = None
    """For a run: its resolved config, as plain JSON values."""
    trained_with: dict[str, Any] | None = None
    """For a run: commit, package versions and devices of its first start (`runs/provenance.py`)."""
    training_data: dict[str, Any] | None = None
    """For a run: the sources of each dataset with their hashes, and the hash of its tokenizer."""
    dtype: str | None = None
    """The precision of matrix products: for a run, or where it was chosen."""
    weights_sha256: str | None = None
    """For a published model: SHA-256 over its weight files."""
    tokenizer_sha256: str | None = None
    """For a published model: SHA-256 of its tokenizer in canonical form."""
    pooling: str | None = None
    """For a published model: how it pools, "mean", "cls" or "pooler", which the caller may have chosen."""
    texts: dict[str, Any] | None = None
    """The prompts and length limits in use (`encoder.TextRules`)."""
    truncate_dim: int | None = None
    """The numbers that vectors were cut to (`truncation.truncated`); None: whole vectors."""

    def stated(self) -> dict[str, Any]:
        """Plain JSON values for reports and model cards, without the fields that do not apply."""
        values = self.model_dump(mode="json", exclude={"kind"})
        values = {name: value for name, value in values.items() if value is not None}
        return values if self.is_run else {**values, "format": self.kind}

    @property
    def is_run(self) -> bool:
        """Whether the folder is a training run, with a config, a step and a log."""
        return self.kind == "run"

    @property
    def name(self) -> str:
        """`model_name`, for a run with its step, and what vectors were cut to: "hybrid, step 800, 256 dimensions"."""
        step = f", step {self.step}" if self.is_run else ""
        return self.model_name + step + ("" if self.truncate_dim is None else f", {self.truncate_dim} dimensions")

    @property
    def model_name(self) -> str:
        """The folder's name; a hub id for a folder of the hub's cache."""
        for above in self.folder.parents:  # …/models--ORGANISATION--NAME/snapshots/REVISION
            if above.name.startswith("models--"):
                return above.name.removeprefix("models--").replace("--", "/", 1)
        return self.folder.name
