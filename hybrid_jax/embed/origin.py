"""Where an encoder's parameters came from: what a report, a model card and a debiasing state of the model."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Origin(BaseModel):
    """The folder that an encoder was loaded from, and what tells its vectors from those of another model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["run", "sentence-transformers", "Hugging Face"]
    """A training run's folder (its --workdir), or the format of a published model's folder."""
    folder: Path
    step: int | None = None
    """Of a run: the batches it was trained on; 0 before its first step."""
    config: dict[str, Any] | None = None
    """Of a run: its resolved config, as plain JSON values."""
    trained_with: dict[str, Any] | None = None
    """Of a run: commit, versions and devices of its first start (`runs/provenance.py`)."""
    training_data: dict[str, Any] | None = None
    """Of a run: the sources of each dataset with their hashes, and the digest of its tokenizer."""
    dtype: str | None = None
    """Of a run: the precision of its matrix products."""
    weights_sha256: str | None = None
    """Of a published model: sha256 over its weight files."""
    tokenizer_sha256: str | None = None
    """Of a published model: sha256 of its tokenizer in canonical form."""
    texts: dict[str, Any] | None = None
    """Prompts and length limits, where they were given by the caller or differ from the folder's."""

    def stated(self) -> dict[str, Any]:
        """As reports and model cards state it, as plain JSON values; what does not apply is left out."""
        values = self.model_dump(mode="json", exclude={"kind"})
        values = {name: value for name, value in values.items() if value is not None}
        return values if self.is_run else {**values, "format": self.kind}

    @property
    def is_run(self) -> bool:
        """Whether it is a training run, with a config, a step and a log."""
        return self.kind == "run"

    @property
    def name(self) -> str:
        """The folder's name, and the step of a run: "hybrid, step 800"."""
        return f"{self.folder.name}, step {self.step}" if self.is_run else self.folder.name
