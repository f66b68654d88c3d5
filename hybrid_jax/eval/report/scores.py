"""The parts of report.json that hold metrics: values beside the fields, under their catalogue names."""

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hybrid_jax.eval.measures.catalogue import METRICS, Setting

Means = dict[Setting, float | None]
"""A metric's macro mean in each setting; None where the task has no such setting."""
Value = TypeVar("Value")


class Frozen(BaseModel):
    """Fields that do not change, and no others."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Scores(BaseModel, Generic[Value]):
    """Fields, and beside them the value of each metric under its catalogue name."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, Value] = Field(init=False)  # pyright: ignore[reportIncompatibleVariableOverride]

    @model_validator(mode="after")
    def _known_metrics(self) -> "Scores[Value]":
        unknown = [name for name in self.__pydantic_extra__ if name not in METRICS]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no metric of this version")
        return self

    def __getitem__(self, metric: str) -> Value:
        """The value of a metric. Raises KeyError where the result does not have it."""
        return self.__pydantic_extra__[metric]

    @property
    def metrics(self) -> dict[str, Value]:
        """All metrics by name."""
        return self.__pydantic_extra__


class BySetting(Scores[Means | float | None]):
    """`FULL_RANKING` metrics by setting, and the mean and median rank distance of the multilingual setting."""

    def means(self, metric: str) -> Means:
        """A metric's value in each setting. Raises TypeError for a rank distance."""
        value = self[metric]
        if not isinstance(value, dict):
            raise TypeError(f"{metric} is of the multilingual setting alone: read it with `value`")
        return value

    def value(self, metric: str, setting: Setting = "multilingual") -> float | None:
        """A metric's value in one setting; None where there is none."""
        value = self[metric]
        if isinstance(value, dict):
            return value[setting]
        return value if setting == "multilingual" else None
