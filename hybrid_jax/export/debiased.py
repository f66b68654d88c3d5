"""A linear debiasing written into a model: its last linear layer, which every format has a place for, does it.

Knows: that a projection without activation and a matrix after it are one projection. Does not know: how the matrix was
fitted (`embed/debias_fit.py`), files.
"""

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
    """An encoder with one tower whose vectors are `debias` of those of `encoder`, of whatever language.

    With P = `debias.matrix`, unit(P unit(W p + b)) = unit(P W p + P b): lengths commute with a linear map. A model
    without projection gets one, P itself, without a bias.

    Raises ExportError for a method that is no matrix, an activation between W and P, and a map of other vectors.
    """
    model = encoder.model
    if not debias.linear:
        raise ExportError(
            f"{debias.name} moves each language in its own way, which a model that does not know a text's language "
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
    before: Mapping[str, Any] = tower.get("projection", {"kernel": np.eye(encoder.dim)})
    after = {name: np.asarray(values, np.float64) @ debias.matrix for name, values in before.items()}
    tower["projection"] = {
        name: jax.device_put(values.astype(np.float32), parameter_sharding(encoder.mesh, values.shape))
        for name, values in after.items()
    }
    has_bias = model.projection_dim is not None and model.projection_bias
    config = model.model_copy(update={"projection_dim": encoder.dim, "projection_bias": has_bias})
    return replace(encoder, model=config, parameters={"tower": tower})


def check_fitted_on(debias: Debiaser, origin: Origin) -> None:
    """Raises ExportError when the map was fitted on the vectors of another model than that of `origin`.

    One that does not say (`fit` was called by hand) is taken at its word.
    """
    theirs, ours = debias.facts.model, model_identity(origin)
    if theirs in (None, ours):
        return
    names = [name for name in {**ours, **theirs} if theirs.get(name) != ours.get(name)]
    shown = ", ".join(f"{name} {_short(theirs.get(name))} instead of {_short(ours.get(name))}" for name in names)
    raise ExportError(f"--debias was fitted on another model ({shown}): fit it on the one that is exported")


def _short(value: object) -> str:
    return "none" if value is None else str(value)[:12]
