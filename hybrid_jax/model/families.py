"""All model families. To add one, extend the two lines that list them."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, Field, WrapValidator

from hybrid_jax.model.bert import BERT, BertConfig
from hybrid_jax.model.family import Family
from hybrid_jax.model.modernbert import MODERNBERT, ModernBertConfig

DEFAULT = BertConfig()
"""The encoder of a config that does not describe one."""

FAMILIES: tuple[Family[Any], ...] = (BERT, MODERNBERT)


def _with_architecture(value: Any, read: Callable[[Any], Any]) -> Any:
    """A config without an architecture has the default one, which then is no field that was set.

    In an encoder's config that Python code made, the architecture is set: its class says it.
    """
    if isinstance(value, BaseModel):
        config = read(value)
        return config.model_copy(update={"architecture": config.architecture})
    if not isinstance(value, dict) or "architecture" in value:
        return read(value)
    config = read({"architecture": DEFAULT.architecture, **value})
    config.model_fields_set.discard("architecture")
    return config


EncoderConfig = Annotated[
    BertConfig | ModernBertConfig,
    Field(discriminator="architecture"),
    WrapValidator(_with_architecture),
]
"""The config of any family; its field `architecture` says which."""


def family_of(config: EncoderConfig) -> Family[Any]:
    """The family that a config belongs to."""
    return next(family for family in FAMILIES if family.architecture == config.architecture)


def family_of_model_type(model_type: Any) -> Family[Any] | None:
    """The family that reads this `model_type` of a config.json, or None."""
    return next((family for family in FAMILIES if model_type in list(family.model_types)), None)
