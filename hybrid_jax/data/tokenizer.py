"""Tokenizers: any Hugging Face fast tokenizer folder, or a Unigram model trained on a run's own text.

Raw `tokenizers` in the hot path (about twice as fast as AutoTokenizer, equal ids). Knows: texts and token ids.
Does not know: datasets, batches, models.
"""

import json
import shutil
from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import count
from pathlib import Path

import numpy as np
import tokenizers
from pydantic import BaseModel, ConfigDict, Field

from hybrid_jax.data.whole import whole_folder

SPECIAL_TOKENS = ["<s>", "<pad>", "</s>", "<unk>"]
"""Ids 0 to 3 of a tokenizer trained by us, as in XLM-R."""


class TokenizerConfig(BaseModel):
    """Which tokenizer a run uses."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str | None = None
    """A folder with a Hugging Face fast tokenizer (tokenizer.json). None trains one on the run's own text."""
    vocab_size: int = Field(default=32_000, ge=300)
    """Size of the Unigram vocabulary that is trained when path is None."""
    training_characters: int = Field(default=3_000_000, ge=1)
    """How much of the run's text trains it, in equal parts from every language as far as there is text."""


class Tokenizer:
    """A tokenizer folder. Attributes: `vocab_size`, `pad_id`, `digest` (sha256 of tokenizer.json).

    Raises FileNotFoundError for a folder without tokenizer.json, ValueError for one that names no padding token.
    """

    def __init__(self, folder: Path):
        path = folder / "tokenizer.json"
        if not path.exists():
            raise FileNotFoundError(
                f"{folder} has no tokenizer.json: give a Hugging Face fast tokenizer folder "
                f"(AutoTokenizer.from_pretrained(…).save_pretrained({str(folder)!r}) writes one)"
            )
        self.folder = folder
        self.digest = sha256(path.read_bytes()).hexdigest()
        self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.vocab_size = self._tokenizer.get_vocab_size(with_added_tokens=True)
        self.pad_id = self._find_pad_id()

    def _find_pad_id(self) -> int:
        config = self.folder / "tokenizer_config.json"
        named = json.loads(config.read_text()).get("pad_token") if config.exists() else None
        named = named["content"] if isinstance(named, dict) else named
        for token in (named, "<pad>", "[PAD]"):
            number = self._tokenizer.token_to_id(token) if token else None
            if number is not None:
                return number
        raise ValueError(f"{self.folder}: no padding token: set 'pad_token' in its tokenizer_config.json")

    def encode(self, texts: Sequence[str], max_length: int) -> tuple[list[np.ndarray], int]:
        """Token ids of each text, special tokens included, cut to `max_length`; and how many texts were cut."""
        self._tokenizer.enable_truncation(max_length)
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        self._tokenizer.no_truncation()
        return [np.array(e.ids, np.int32) for e in encodings], sum(bool(e.overflowing) for e in encodings)

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(list(ids))

    def save(self, folder: Path) -> None:
        """Copies the tokenizer's files to `folder`, where AutoTokenizer and `Tokenizer` load it."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
            if (self.folder / name).exists():
                shutil.copyfile(self.folder / name, folder / name)


def train_unigram(texts: Iterable[str], vocab_size: int, folder: Path) -> Tokenizer:
    """Trains a Unigram tokenizer with XLM-R's normaliser and special tokens and saves it in `folder`. Unlike XLM-R's,
    no piece crosses punctuation, or the borders between every 24 letters of a run without spaces.

    Source: Kudo (2018), "Subword regularization". Equal texts in equal order give equal files (see `_reproducible`).
    """
    tokenizer = tokenizers.Tokenizer(tokenizers.models.Unigram())
    tokenizer.normalizer = tokenizers.normalizers.Sequence(
        [tokenizers.normalizers.Nmt(), tokenizers.normalizers.NFKC(), tokenizers.normalizers.Replace(_SPACES, " ")]
    )
    split = tokenizers.pre_tokenizers.Split
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Metaspace(),
            split(tokenizers.Regex(r"\p{Punctuation}"), "isolated"),
            split(tokenizers.Regex(r".{24}"), "isolated"),  # cuts Thai and Chinese: the trainer is slow on long runs
        ]
    )
    tokenizer.decoder = tokenizers.decoders.Metaspace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    trainer = tokenizers.trainers.UnigramTrainer(
        vocab_size=vocab_size, special_tokens=SPECIAL_TOKENS, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    trained = json.loads(tokenizer.to_str())
    trained["model"]["vocab"] = _reproducible([(piece, score) for piece, score in trained["model"]["vocab"]])
    with whole_folder(folder) as part:
        (part / "tokenizer.json").write_text(json.dumps(trained, ensure_ascii=False), encoding="utf-8")
        # With this class name, transformers 4 and 5 both use tokenizer.json as it is.
        names = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
        config = {"tokenizer_class": "PreTrainedTokenizerFast", **names, "cls_token": "<s>", "sep_token": "</s>"}
        (part / "tokenizer_config.json").write_text(json.dumps(config, indent=2))
    return Tokenizer(folder)


def _reproducible(vocabulary: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """The trained (piece, score) list without the traces of the trainer's hash tables, which differ in every process.

    They decide in which order it adds up probabilities (so the last digits of scores, and the order of equal ones), and
    which comes first of the characters that are pieces only because the text has them: it gives these the lowest score,
    that + 0.0001, + 0.0002 and so on. Here all of them get the lowest.
    """
    special, pieces = vocabulary[: len(SPECIAL_TOKENS)], dict(vocabulary[len(SPECIAL_TOKENS) :])
    lowest = min(pieces.values())
    steps = {piece: (score - lowest) / 1e-4 for piece, score in pieces.items() if len(piece) == 1}
    steps = {piece: round(step) for piece, step in steps.items() if abs(step - round(step)) < 1e-6}
    end = next(step for step in count() if step not in steps.values())
    pieces |= {piece: lowest for piece, step in steps.items() if step < end}
    rounded = [(piece, round(score, 5)) for piece, score in pieces.items()]
    return special + sorted(rounded, key=lambda entry: (-entry[1], entry[0]))


_SPACES = tokenizers.Regex(r"\s+")
