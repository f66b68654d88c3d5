"""The family of ModernBERT and mmBERT: open `encoder.py` first for what it computes, then `hugging_face.py`.

Imports only `model/`'s shared files, and no other family.
"""

from hybrid_jax.model.family import Family
from hybrid_jax.model.modernbert import hugging_face
from hybrid_jax.model.modernbert.encoder import ModernBert, ModernBertConfig

MODERNBERT = Family(
    architecture="modernbert",
    config_class=ModernBertConfig,
    module_class=ModernBert,
    model_types={"modernbert": "ModernBERT"},
    from_hugging_face=hugging_face.from_hugging_face,
    to_hugging_face=hugging_face.to_hugging_face,
    config_keys=hugging_face.CONFIG_KEYS,
    tensor_names=hugging_face.TENSOR_NAMES,
    prefixes=("model.",),
    ignored=hugging_face.IGNORED,
    special_tokens=("pad", "bos", "eos", "cls", "sep"),
)
