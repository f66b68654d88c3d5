"""What adding a model family takes: the code below, and two changed lines in `families.py`.

The family here is a bag of words. The test changes a copy of the package as a contributor would, and takes a model from
a YAML config to a Hugging Face folder and back.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from flax import nnx
from jaxtyping import Array, Float, Int
from pydantic import BaseModel, ConfigDict

from hybrid_jax.model.dropout import Noise
from hybrid_jax.model.family import Family

ROOT = Path(__file__).resolve().parents[2]


class BagConfig(BaseModel):
    """Every token has a vector, whatever its neighbours are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Literal["bag"] = "bag"
    vocab_size: int = 300
    hidden_size: int = 8
    num_layers: int = 0
    num_heads: int = 1
    max_length: int = 32
    dtype: Literal["float32", "bfloat16"] = "float32"


class Bag(nnx.Module):
    """Token ids -> one vector per token."""

    def __init__(self, config: BagConfig, rngs: nnx.Rngs):
        self.config = config
        self.word = nnx.Embed(config.vocab_size, config.hidden_size, rngs=rngs)

    def __call__(
        self, tokens: Int[Array, "rows length"], segments: Int[Array, "rows length"], noise: Noise | None = None
    ) -> Float[Array, "rows length hidden"]:
        return self.word(tokens).astype(self.config.dtype)


def from_hugging_face(content: Mapping[str, Any]) -> BagConfig:
    sizes = {"vocab_size": content["vocab_size"], "hidden_size": content["hidden_size"]}
    return BagConfig(**sizes, max_length=content["max_position_embeddings"])


def to_hugging_face(config: BagConfig, special_ids: Mapping[str, int | None]) -> dict[str, Any]:
    sizes = {"vocab_size": config.vocab_size, "hidden_size": config.hidden_size}
    return {"model_type": "bag-of-words", **sizes, "max_position_embeddings": config.max_length, **special_ids}


BAG = Family(
    architecture="bag",
    config_class=BagConfig,
    module_class=Bag,
    model_types={"bag-of-words": "Bag of words"},
    from_hugging_face=from_hugging_face,
    to_hugging_face=to_hugging_face,
    tensor_names=(("word_vectors.weight", "word.embedding"),),
)

CHANGES = {
    "= (BERT, MODERNBERT)": "= (BERT, MODERNBERT, BAG)",
    "    BertConfig | ModernBertConfig,": "    BertConfig | ModernBertConfig | BagConfig,",
}
"""The lines of `families.py` that list the families, before and after."""


def copy_with_the_family(folder: Path) -> None:
    """Copies the package and adds the family, whose folder is this file."""
    shutil.copytree(ROOT / "hybrid_jax", folder / "hybrid_jax", ignore=shutil.ignore_patterns("__pycache__"))
    families = folder / "hybrid_jax" / "model" / "families.py"
    source = families.read_text(encoding="utf-8")
    for before, after in CHANGES.items():
        assert source.count(before) == 1, before
        source = source.replace(before, after)
    first_import = "from hybrid_jax.model.bert import"
    families.write_text(source.replace(first_import, f"from test_new_family import BAG, BagConfig\n{first_import}"))


def round_trip(folder: Path) -> None:
    """Runs in a process that imports the changed copy."""
    import jax
    import numpy as np
    import yaml
    from transformers import AutoConfig, PretrainedConfig

    import hybrid_jax.model.families as families
    from hybrid_jax.config import ConfigError, dump_config, load_config, parse_config
    from hybrid_jax.data.tokenizer import train_unigram
    from hybrid_jax.embed.encoder import TextEncoder, TextRules
    from hybrid_jax.embed.load import load
    from hybrid_jax.embed.origin import Origin
    from hybrid_jax.export.folder import plan, write_folder
    from hybrid_jax.export.verify import TEXTS
    from hybrid_jax.model.dual_encoder import initialize
    from hybrid_jax.runtime.mesh import MeshConfig, make_mesh

    assert str(families.__file__).startswith(str(folder))
    AutoConfig.register("bag-of-words", type("BagOfWords", (PretrainedConfig,), {"model_type": "bag-of-words"}))

    tokenizer = train_unigram(TEXTS, 400, folder / "tokenizer")
    data = {"max_query_length": 16, "max_passage_length": 16}
    encoder = {"architecture": "bag", "vocab_size": tokenizer.vocab_size}
    path = folder / "bag.yaml"
    path.write_text(yaml.safe_dump({"data": data, "model": {"encoder": encoder}}))
    config = load_config(path, ["--model.encoder.hidden-size", "12"])
    assert config.model.encoder == BagConfig(vocab_size=tokenizer.vocab_size, hidden_size=12)
    assert parse_config(dump_config(config)) == config
    path.write_text(yaml.safe_dump({"data": data, "model": {"encoder": {**encoder, "hidden": 3}}}))
    try:
        load_config(path)
    except ConfigError as error:
        assert "unknown field model.encoder.hidden: did you mean hidden_size" in str(error), error  # noqa: PT017
    else:
        raise AssertionError("an unknown field was accepted")

    parameters = jax.device_get(jax.jit(initialize, static_argnums=0)(config.model, 0))
    rules, mesh = TextRules("Query: ", "", 16, 16), make_mesh(MeshConfig(data=1))
    original = TextEncoder(tokenizer, config.model, rules, parameters, mesh, Origin(kind="run", folder=folder))
    for format in ("sentence-transformers", "hf"):
        out = folder / format
        assert write_folder(plan(original, format=format, dtype="float32"), out, card="# card\n") < 1e-12
        loaded = load(out)
        assert loaded.model.encoder == config.model.encoder
        jax.tree.map(np.testing.assert_array_equal, loaded.parameters, parameters)


def test_a_family_is_its_folder_and_two_changed_lines(tmp_path: Path):
    copy_with_the_family(tmp_path)
    code = f"from pathlib import Path; from test_new_family import round_trip; round_trip(Path({str(tmp_path)!r}))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parent)])}
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    written = [json.loads((tmp_path / name / "config.json").read_text()) for name in ("sentence-transformers", "hf")]
    assert [config["model_type"] for config in written] == ["bag-of-words", "bag-of-words"]
