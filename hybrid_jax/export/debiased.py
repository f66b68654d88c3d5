"""Writes a linear debiasing into a model's projection, the last linear layer, which every format can hold."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from hybrid_jax.debias.methods import Debiaser
from hybrid_jax.embed.encoder import TextEncoder
from hybrid_jax.embed.identity import model_identity
from hybrid_jax.embed.origin import Origin
from hybrid_jax.export.settings import ExportError
from hybrid_jax.model.dual_encoder import Parameters
from hybrid_jax.runtime.mesh import parameter_sharding


def debiased(encoder: TextEncoder, debias: Debiaser) -> TextEncoder:
    """An encoder with one tower, whose vectors are those of `encoder` after `debias`, in every language.

    With P = `debias.matrix`, unit(P unit(W p + b)) = unit(P W p + P b), since P is linear and scaling does not change
    a direction. A model without a projection gets P as its projection, without a bias.

    Raises ExportError for a method that is not linear, for an activation after the projection, and for a debiasing of
    vectors of another size.
    """
    model = encoder.model
    if not debias.linear:
        raise ExportError(
            f"{debias.name} moves each language in its own way, which a model that is not told a text's language "
            f"cannot do: export without --debias, or with lsar"
        )
    if debias.dim != encoder.dim:
        raise ExportError(
            f"the {debias.name} of --debias was fitted on vectors of {debias.dim} numbers, and the model gives "
            f"{encoder.dim}: fit it on this model"
        )
    if model.projection_activation != "identity":
        raise ExportError(
            f"the projection of this model ends in {model.projection_activation}, and a folder has no place for "
            f"{debias.name} behind it: export without --debias, and apply it to the vectors"
        )
    tower: Parameters = dict(encoder.parameters["tower"])
    projection: Mapping[str, Any] = tower.get("projection", {"kernel": np.eye(encoder.dim)})
    composed = {name: np.asarray(values, np.float64) @ debias.matrix for name, values in projection.items()}
    tower["projection"] = {
        name: jax.device_put(values.astype(np.float32), parameter_sharding(encoder.mesh, values.shape))
        for name, values in composed.items()
    }
    has_bias = model.projection_dim is not None and model.projection_bias
    config = model.model_copy(update={"projection_dim": encoder.dim, "projection_bias": has_bias})
    return replace(encoder, model=config, parameters={"tower": tower})


def check_fitted_on(debias: Debiaser, origin: Origin) -> None:
    """Raises ExportError if the debiasing was fitted on the vectors of another model than that of `origin`.

    A debiasing that does not state its model (`fit` was called directly) passes.
    """
    fitted_on, exported = debias.facts.model, model_identity(origin)
    if fitted_on in (None, exported):
        return
    names = [name for name in {**exported, **fitted_on} if fitted_on.get(name) != exported.get(name)]
    shown = ", ".join(f"{name} {_short(fitted_on.get(name))} instead of {_short(exported.get(name))}" for name in names)
    raise ExportError(f"--debias was fitted on another model ({shown}): fit it on the one that is exported")


def _short(value: object) -> str:
    return "none" if value is None else str(value)[:12]
