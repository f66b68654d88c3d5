"""The family of BERT, RoBERTa and XLM-R: open `encoder.py` first for what it computes, then `hugging_face.py`.

Imports only `model/`'s shared files, and no other family.
"""

from hybrid_jax.model.bert import hugging_face
from hybrid_jax.model.bert.encoder import Bert, BertConfig
from hybrid_jax.model.family import Family

BERT = Family(
    architecture="bert",
    config_class=BertConfig,
    module_class=Bert,
    model_types=hugging_face.MODEL_TYPES,
    from_hugging_face=hugging_face.from_hugging_face,
    to_hugging_face=hugging_face.to_hugging_face,
    config_keys=hugging_face.CONFIG_KEYS,
    tensor_names=hugging_face.TENSOR_NAMES,
    prefixes=hugging_face.PREFIXES,
    ignored=hugging_face.IGNORED,
    pooler=hugging_face.POOLER,
    pools_with_pooler=hugging_face.pools_with_pooler,
    tokenizer_inputs=hugging_face.tokenizer_inputs,
)
