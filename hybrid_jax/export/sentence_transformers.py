"""The files that make a Hugging Face folder one of sentence-transformers, written from our model.

`hub/sentence_transformers.py` reads them.
"""

from collections.abc import Mapping
from typing import Any

from hybrid_jax.export.settings import ExportError
from hybrid_jax.model.activations import TORCH, Activation
from hybrid_jax.model.dual_encoder import ModelConfig
from hybrid_jax.model.families import family_of

POOLING_FOLDER, DENSE_FOLDER = "1_Pooling", "2_Dense"


def sentence_transformers_files(
    model: ModelConfig, prompts: Mapping[str, str], max_length: int
) -> dict[str, dict[str, Any] | list[dict[str, Any]]]:
    """The content of each JSON file, by its path in the folder.

    Class names and keys are the old ones, which sentence-transformers 5 and 6 read as well. No library versions are
    stated, because none of these libraries wrote the folder. Raises ExportError for an activation of the projection
    that a Dense module cannot have.
    """
    kinds = {"": "Transformer", POOLING_FOLDER: "Pooling"}
    if model.projection_dim is not None:
        kinds[DENSE_FOLDER] = "Dense"
    kinds[f"{len(kinds)}_Normalize"] = "Normalize"
    files: dict[str, dict[str, Any] | list[dict[str, Any]]] = {
        "modules.json": [
            {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for number, (path, kind) in enumerate(kinds.items())
        ],
        "sentence_bert_config.json": {"max_seq_length": max_length, "do_lower_case": False, **_model_arguments(model)},
        "config_sentence_transformers.json": {
            "model_type": "SentenceTransformer",
            "prompts": dict(prompts),
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
        f"{POOLING_FOLDER}/config.json": {
            "word_embedding_dimension": model.encoder.hidden_size,
            "pooling_mode_cls_token": model.pooling == "cls",
            "pooling_mode_mean_tokens": model.pooling == "mean",
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
            "pooling_mode_weightedmean_tokens": False,
            "pooling_mode_lasttoken": False,
            "include_prompt": True,
        },
    }
    if model.projection_dim is not None:
        files[f"{DENSE_FOLDER}/config.json"] = {
            "in_features": model.encoder.hidden_size,
            "out_features": model.projection_dim,
            "bias": model.projection_bias,
            "activation_function": _torch_class(model.projection_activation),
        }
    return files


def _model_arguments(model: ModelConfig) -> dict[str, Any]:
    """Keeps transformers from adding a pooler, which the file does not have, with random weights and a warning."""
    return {"model_args": {"add_pooling_layer": False}} if family_of(model.encoder).pooler else {}


def _torch_class(activation: Activation) -> str:
    for name, ours in TORCH.items():
        if ours == activation:
            return f"torch.nn.modules.{'linear' if name == 'Identity' else 'activation'}.{name}"
    raise ExportError(
        f"projection_activation {activation!r} cannot be exported: sentence-transformers' Dense makes its activation "
        f"without arguments, which gives {', '.join(TORCH.values())}"
    )
