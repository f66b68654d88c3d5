"""All model families. To add one, extend the two lines that list them."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from hybrid_jax.model.bert import BERT, BertConfig
from hybrid_jax.model.family import Family
from hybrid_jax.model.modernbert import MODERNBERT, ModernBertConfig

DEFAULT = BertConfig()
"""The encoder of a config that does not describe one."""

FAMILIES: tuple[Family[Any], ...] = (BERT, MODERNBERT)


def _with_architecture(value: Any) -> Any:
    """A config file that does not name the architecture means the default one."""
    return {"architecture": DEFAULT.architecture, **value} if isinstance(value, dict) else value


EncoderConfig = Annotated[
    BertConfig | ModernBertConfig,
    Field(discriminator="architecture"),
    BeforeValidator(_with_architecture),
]
"""The config of any family; its field `architecture` says which."""


def family_of(config: EncoderConfig) -> Family[Any]:
    """The family that a config belongs to."""
    return next(family for family in FAMILIES if family.architecture == config.architecture)


def family_of_model_type(model_type: Any) -> Family[Any] | None:
    """The family that reads this `model_type` of a config.json, or None."""
    return next((family for family in FAMILIES if model_type in list(family.model_types)), None)
