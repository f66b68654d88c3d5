"""Tokenizer folders of every family, trained on given texts and saved by transformers. Needs no torch."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tokenizers
import transformers
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers


def wordpiece(folder: Path, texts: Iterable[str], lower: bool, size: int = 200) -> int:
    """BERT's; returns the number of tokens, as all of these do."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trained = _trained(
        texts,
        models.WordPiece(unk_token="[UNK]"),
        trainers.WordPieceTrainer(vocab_size=size, special_tokens=special, show_progress=False),
        normalizer=normalizers.BertNormalizer(lowercase=lower),
        pre_tokenizer=pre_tokenizers.BertPreTokenizer(),
    )
    transformers.BertTokenizer(vocab=trained.get_vocab(), do_lower_case=lower).save_pretrained(folder)
    return trained.get_vocab_size()


def unigram(folder: Path, texts: Iterable[str], size: int = 200) -> int:
    """XLM-R's."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trained = _trained(
        texts,
        models.Unigram(),
        trainers.UnigramTrainer(vocab_size=size, special_tokens=special, unk_token="<unk>", show_progress=False),
        normalizer=normalizers.NFKC(),
        pre_tokenizer=pre_tokenizers.Sequence(
            [pre_tokenizers.Metaspace(), pre_tokenizers.Split(tokenizers.Regex(".{24}"), "isolated")]
        ),
    )
    # Few digits, so that transformers reads its own file without an error in the last place, which decides ties.
    vocab = [(piece, round(score, 8)) for piece, score in json.loads(trained.to_str())["model"]["vocab"]]
    tokenizer = transformers.XLMRobertaTokenizer(vocab=[*vocab, ("<mask>", 0.0)])  # pyright: ignore[reportArgumentType]
    tokenizer.save_pretrained(folder)
    return len(tokenizer)


def byte_bpe(folder: Path, texts: Iterable[str], roberta: bool = False, size: int = 300) -> int:
    """BPE over bytes: RoBERTa's, or ModernBERT's."""
    first, pad, last, unknown = ("<s>", "<pad>", "</s>", "<unk>") if roberta else ("[CLS]", "[PAD]", "[SEP]", "[UNK]")
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trained = _trained(
        texts,
        models.BPE(),
        trainers.BpeTrainer(
            vocab_size=size, special_tokens=[first, pad, last, unknown], initial_alphabet=alphabet, show_progress=False
        ),
        pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=False),
        decoder=tokenizers.decoders.ByteLevel(),
    )
    if roberta:
        model = json.loads(trained.to_str())["model"]
        merges: Any = [tuple(merge) for merge in model["merges"]]
        transformers.RobertaTokenizer(vocab=model["vocab"], merges=merges).save_pretrained(folder)
        return len(model["vocab"]) + 1  # <mask>
    return _saved(trained, folder, first, pad, last, unknown)


def sentencepiece_bpe(folder: Path, texts: Iterable[str], size: int = 300) -> int:
    """mmBERT's (Gemma's): BPE over characters, with bytes for those it does not know."""
    first, pad, last, unknown = "<bos>", "<pad>", "<eos>", "<unk>"
    special = [pad, last, first, unknown, *(f"<0x{byte:02X}>" for byte in range(256))]
    trained = _trained(
        texts,
        models.BPE(unk_token=unknown, byte_fallback=True, fuse_unk=True),
        trainers.BpeTrainer(vocab_size=max(size, 600), special_tokens=special, show_progress=False),
        normalizer=normalizers.Replace(" ", "▁"),
        pre_tokenizer=pre_tokenizers.Split(" ", "merged_with_previous"),
    )
    return _saved(trained, folder, first, pad, last, unknown)


def _trained(texts: Iterable[str], model: Any, trainer: Any, **parts: Any) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(model)
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _saved(trained: tokenizers.Tokenizer, folder: Path, first: str, pad: str, last: str, unknown: str) -> int:
    ids = [(token, trained.token_to_id(token)) for token in (first, last)]
    trained.post_processor = processors.TemplateProcessing(single=f"{first} $A {last}", special_tokens=ids)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=trained, cls_token=first, pad_token=pad, sep_token=last, unk_token=unknown
    )
    tokenizer.save_pretrained(folder)
    return len(tokenizer)
