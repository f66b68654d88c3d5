"""What a Hugging Face or sentence-transformers folder says of its model. Reads configuration files, no weights."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hybrid_jax.hub.conversion import check_no_adapter
from hybrid_jax.hub.find import find_folder, is_sentence_transformers
from hybrid_jax.hub.json_files import PretrainedError
from hybrid_jax.hub.names import parameter_name
from hybrid_jax.hub.sentence_transformers import read_dense, read_modules, read_pooling
from hybrid_jax.hub.tensor_files import TensorFiles
from hybrid_jax.hub.tokenizer_limit import check_tokenizer_files, tokenizer_limit
from hybrid_jax.hub.transformer import read_encoder_config
from hybrid_jax.model.dual_encoder import ModelConfig
from hybrid_jax.model.families import family_of
from hybrid_jax.model.family import Family

_MODULE_FILES = ("config_sentence_transformers.json", "1_Pooling")
"""Parts of a sentence-transformers folder that mean nothing without modules.json."""


@dataclass(frozen=True)
class Pretrained:
    """A model folder whose configuration was read. `weights.py` loads its parameters."""

    folder: Path
    transformer: Path
    """The folder of the transformer's own files: `folder`, or a part of it in old sentence-transformers folders."""
    model: ModelConfig
    projection: Literal["pooler"] | Path | None = None
    """Where the projection's weights lie: in the encoder's pooler, or in the folder of a Dense module."""
    max_length: int = 512
    """Tokens of a text, special ones included, before it is cut."""
    lower_case: bool = False
    """Texts are lower-cased before the tokenizer sees them."""
    prompts: dict[str, str] = field(default_factory=dict)
    """sentence-transformers' prompts by name."""
    sentence_transformers: bool = False
    """The folder has modules.json."""
    notes: Sequence[str] = ()
    """Keys and prompts of the folder that are not used, one per line."""

    @property
    def query_prompt(self) -> str:
        """What precedes queries: the prompt named "query", as in sentence-transformers' `encode_query`."""
        return self.prompts.get("query") or ""

    @property
    def passage_prompt(self) -> str:
        """What precedes passages: the prompt named "document", as in sentence-transformers' `encode_document`."""
        return self.prompts.get("document") or ""


def open_pretrained(path_or_id: str | Path, pooling: Literal["mean", "cls", "pooler"] | None = None) -> Pretrained:
    """Reads the configuration files of a folder, or of a model of the Hugging Face hub.

    A sentence-transformers folder (it has modules.json) says how it pools. For a plain one, `pooling` does; the default
    is the pooler for BERT models whose file has one (LaBSE), else the mean over tokens. Raises PretrainedError.
    """
    folder = find_folder(path_or_id)
    check_no_adapter(folder)
    if is_sentence_transformers(folder):
        if pooling is not None:
            raise PretrainedError(
                f"{folder} is a sentence-transformers folder and says itself how it pools: leave pooling out"
            )
        return _sentence_transformers(folder)
    if pooling is None and (stray := next(filter(Path.exists, (folder / name for name in _MODULE_FILES)), None)):
        raise PretrainedError(
            f"{folder / 'modules.json'} does not exist, but {stray.name} of a sentence-transformers folder does: get "
            f"the folder again, or choose pooling mean, cls or pooler"
        )
    return _plain(folder, pooling)


def open_settled(path_or_id: str | Path) -> Pretrained:
    """Reads the folder as `open_pretrained` does, for a config that says how texts are pooled, so the folder need not.

    That config was completed by `pretrained_fields.completed`. Its pooling is not given to `open_pretrained`, because
    "cls" may mean the pooler, whose weights `weights.py` takes where the config's projection is the pooler's.
    """
    folder = find_folder(path_or_id)
    check_no_adapter(folder)
    return _sentence_transformers(folder) if is_sentence_transformers(folder) else _plain(folder, None)


def _plain(folder: Path, pooling: Literal["mean", "cls", "pooler"] | None) -> Pretrained:
    encoder, notes = read_encoder_config(folder)
    family = family_of(encoder)
    limit = min(tokenizer_limit(folder) or encoder.max_length, encoder.max_length)
    notes = [*notes, *check_tokenizer_files(folder)]
    if pooling is None:
        pooling = "pooler" if family.pools_with_pooler(encoder) and _has_pooler(folder, family) else "mean"
    if pooling != "pooler":
        model = ModelConfig(encoder=encoder, pooling=pooling)
        return Pretrained(folder, folder, model, max_length=limit, notes=notes)
    if not _has_pooler(folder, family):
        raise PretrainedError(f"{folder}: its weights have no pooler: choose pooling mean or cls")
    model = ModelConfig(
        encoder=encoder, pooling="cls", projection_dim=encoder.hidden_size, projection_activation="tanh"
    )
    return Pretrained(folder, folder, model, "pooler", limit, notes=notes)


def _has_pooler(folder: Path, family: Family[Any]) -> bool:
    return any(parameter_name(name, family.pooler, family.prefixes) for name in TensorFiles(folder).names)


def _sentence_transformers(folder: Path) -> Pretrained:
    modules = read_modules(folder)
    check_no_adapter(modules.transformer)
    encoder, notes = read_encoder_config(modules.transformer)
    dense = {} if modules.dense is None else read_dense(modules.dense, encoder.hidden_size)
    pooling = read_pooling(modules.pooling, encoder.hidden_size)
    return Pretrained(
        folder,
        modules.transformer,
        ModelConfig(encoder=encoder, pooling=pooling, **dense),
        modules.dense,
        encoder.max_length if modules.max_length is None else min(modules.max_length, encoder.max_length),
        modules.lower_case,
        modules.prompts,
        sentence_transformers=True,
        notes=[*modules.notes, *notes, *check_tokenizer_files(modules.transformer)],
    )
