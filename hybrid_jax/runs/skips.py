"""WORKDIR/skipped.json: the batches that a run leaves out, because its loss diverged on them.

With it, what is learned remains a function of the config, the data and the step; so a run that is resumed leaves out
the same batches.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hybrid_jax.disk.files import atomic_files
from hybrid_jax.runs.workdir import SKIPPED, WorkdirError


class Skip(BaseModel):
    """Steps that are not trained on: from the last good checkpoint to the step whose loss diverged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: int = Field(ge=0)
    last: int = Field(ge=0)
    """The step whose loss diverged; it is left out, too."""
    reason: str


class Skips(BaseModel):
    """All that a run leaves out, in the order in which it was found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    skipped: tuple[Skip, ...] = ()

    def __contains__(self, step: int) -> bool:
        return any(skip.first <= step <= skip.last for skip in self.skipped)

    def before(self, step: int) -> int:
        """How many of the steps before this one are left out."""
        return sum(number in self for number in range(step))

    def write(self, workdir: Path) -> None:
        """Raises OSError as `atomic_files` does."""
        atomic_files(workdir, {SKIPPED: self.model_dump_json(indent=1).encode()})


def read_skips(workdir: Path) -> Skips:
    """What the run leaves out; nothing if there is no such file. Raises WorkdirError when it is damaged."""
    path = workdir / SKIPPED
    try:
        return Skips.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Skips()
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise WorkdirError(f"{path} is damaged ({reason}): restore it, or use another --workdir") from None
