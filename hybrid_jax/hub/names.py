"""Which tensor of a Hugging Face file is which of our parameters: tables, read in both directions.

Knows: names. Does not know: files, shapes, values. A row pairs a name of transformers with ours; `{n}` is a layer's
number. The first row that matches wins. A source name that matches no row must be on the `IGNORED` list.
"""

import re
from collections.abc import Sequence

Row = tuple[str, str]

_BERT: Sequence[Row] = (
    ("embeddings.word_embeddings.weight", "embeddings.word.embedding"),
    ("embeddings.position_embeddings.weight", "embeddings.position.embedding"),
    ("embeddings.token_type_embeddings.weight", "embeddings.token_type.embedding"),
    ("embeddings.LayerNorm.weight", "embeddings.norm.scale"),
    ("embeddings.LayerNorm.bias", "embeddings.norm.bias"),
    ("encoder.layer.{n}.attention.self.query.weight", "layers.{n}.attention.query.kernel"),
    ("encoder.layer.{n}.attention.self.query.bias", "layers.{n}.attention.query.bias"),
    ("encoder.layer.{n}.attention.self.key.weight", "layers.{n}.attention.key.kernel"),
    ("encoder.layer.{n}.attention.self.key.bias", "layers.{n}.attention.key.bias"),
    ("encoder.layer.{n}.attention.self.value.weight", "layers.{n}.attention.value.kernel"),
    ("encoder.layer.{n}.attention.self.value.bias", "layers.{n}.attention.value.bias"),
    ("encoder.layer.{n}.attention.output.dense.weight", "layers.{n}.attention.output.kernel"),
    ("encoder.layer.{n}.attention.output.dense.bias", "layers.{n}.attention.output.bias"),
    ("encoder.layer.{n}.attention.output.LayerNorm.weight", "layers.{n}.attention_norm.scale"),
    ("encoder.layer.{n}.attention.output.LayerNorm.bias", "layers.{n}.attention_norm.bias"),
    ("encoder.layer.{n}.intermediate.dense.weight", "layers.{n}.intermediate.kernel"),
    ("encoder.layer.{n}.intermediate.dense.bias", "layers.{n}.intermediate.bias"),
    ("encoder.layer.{n}.output.dense.weight", "layers.{n}.output.kernel"),
    ("encoder.layer.{n}.output.dense.bias", "layers.{n}.output.bias"),
    ("encoder.layer.{n}.output.LayerNorm.weight", "layers.{n}.output_norm.scale"),
    ("encoder.layer.{n}.output.LayerNorm.bias", "layers.{n}.output_norm.bias"),
    # Files converted from TensorFlow name the LayerNorm's two vectors so.
    ("embeddings.LayerNorm.gamma", "embeddings.norm.scale"),
    ("embeddings.LayerNorm.beta", "embeddings.norm.bias"),
    ("encoder.layer.{n}.attention.output.LayerNorm.gamma", "layers.{n}.attention_norm.scale"),
    ("encoder.layer.{n}.attention.output.LayerNorm.beta", "layers.{n}.attention_norm.bias"),
    ("encoder.layer.{n}.output.LayerNorm.gamma", "layers.{n}.output_norm.scale"),
    ("encoder.layer.{n}.output.LayerNorm.beta", "layers.{n}.output_norm.bias"),
)
_MODERNBERT: Sequence[Row] = (
    ("embeddings.tok_embeddings.weight", "embeddings.word.embedding"),
    ("embeddings.norm.weight", "embeddings.norm.scale"),
    ("embeddings.norm.bias", "embeddings.norm.bias"),
    ("layers.{n}.attn_norm.weight", "layers.{n}.attn_norm.scale"),
    ("layers.{n}.attn_norm.bias", "layers.{n}.attn_norm.bias"),
    ("layers.{n}.attn.Wqkv.weight", "layers.{n}.attention.qkv.kernel"),
    ("layers.{n}.attn.Wqkv.bias", "layers.{n}.attention.qkv.bias"),
    ("layers.{n}.attn.Wo.weight", "layers.{n}.attention.output.kernel"),
    ("layers.{n}.attn.Wo.bias", "layers.{n}.attention.output.bias"),
    ("layers.{n}.mlp_norm.weight", "layers.{n}.mlp_norm.scale"),
    ("layers.{n}.mlp_norm.bias", "layers.{n}.mlp_norm.bias"),
    ("layers.{n}.mlp.Wi.weight", "layers.{n}.mlp.input.kernel"),
    ("layers.{n}.mlp.Wi.bias", "layers.{n}.mlp.input.bias"),
    ("layers.{n}.mlp.Wo.weight", "layers.{n}.mlp.output.kernel"),
    ("layers.{n}.mlp.Wo.bias", "layers.{n}.mlp.output.bias"),
    ("final_norm.weight", "final_norm.scale"),
    ("final_norm.bias", "final_norm.bias"),
)
ENCODERS = {"bert": _BERT, "modernbert": _MODERNBERT}
"""Rows of each architecture; our names are below a tower's `encoder`."""

POOLER: Sequence[Row] = (("pooler.dense.weight", "projection.kernel"), ("pooler.dense.bias", "projection.bias"))
"""BERT's pooler, when it is the projection; our names are below a tower."""
DENSE: Sequence[Row] = (("linear.weight", "projection.kernel"), ("linear.bias", "projection.bias"))
"""The Dense module of sentence-transformers, in a file of its own."""

IGNORED = tuple(
    re.compile(pattern)
    for pattern in (
        r"embeddings\.(position_ids|token_type_ids)",  # buffers that old versions saved: 0, 1, 2, …
        r"pooler\.dense\.(weight|bias)",  # unless the pooler is the projection
        r"cls\.(predictions|seq_relationship)\..*",  # BERT's pretraining heads
        r"lm_head\..*",  # RoBERTa's
        r"(head|decoder)\..*",  # ModernBERT's
    )
)
"""Tensors that are no part of the encoder: heads of the pretraining task, and buffers."""

_WRAPPER = re.compile(r"(bert|roberta|model)\.(?=(embeddings|encoder|pooler|layers|final_norm)\.)")


def ours(source: str, table: Sequence[Row]) -> str | None:
    """Our name of a source tensor, whatever model class wrapped the encoder when it was saved; or None."""
    bare = _WRAPPER.sub("", source, count=1) if _WRAPPER.match(source) else source
    for theirs, name in table:
        pattern = re.escape(theirs).replace(re.escape("{n}"), r"(\d+)")
        if found := re.fullmatch(pattern, bare):
            return name.replace("{n}", str(int(found[1]))) if found.groups() else name
    return None


def theirs(name: str, table: Sequence[Row]) -> str:
    """The name that transformers gives to our parameter. Raises KeyError for one it has no name for."""
    for source, mine in table:
        pattern = re.escape(mine).replace(re.escape("{n}"), r"(\d+)")
        if found := re.fullmatch(pattern, name):
            return source.replace("{n}", found[1]) if found.groups() else source
    raise KeyError(name)


def is_ignored(source: str) -> bool:
    """Whether a tensor may be left out although no row has it."""
    bare = _WRAPPER.sub("", source, count=1) if _WRAPPER.match(source) else source
    return any(pattern.fullmatch(bare) for pattern in IGNORED)
