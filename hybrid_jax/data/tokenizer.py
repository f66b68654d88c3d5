"""Tokenizers: any Hugging Face tokenizer folder, or a Unigram model trained on a run's own text.

Texts are encoded by the `tokenizers` library itself, about twice as fast as by AutoTokenizer, with equal ids.
"""

import json
import shlex
from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any, Literal, NamedTuple

import numpy as np
import tokenizers
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hybrid_jax.data.records import DataError
from hybrid_jax.disk.files import atomic_files
from hybrid_jax.disk.manifest import sealed_folder
from hybrid_jax.disk.transformers import import_transformers

SPECIAL_TOKENS = ["<s>", "<pad>", "</s>", "<unk>"]
"""Ids 0 to 3 of a tokenizer trained by us, as in XLM-R."""


class TokenizerConfig(BaseModel):
    """Which tokenizer a run uses."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str | None = None
    """A folder with a Hugging Face tokenizer. None trains one on the run's own text."""
    lower_case: bool = False
    """Lower-case texts before the tokenizer of `path` sees them, as sentence-transformers' do_lower_case."""
    vocab_size: int = Field(default=32_000, ge=300)
    """Size of the Unigram vocabulary that is trained when path is None."""
    training_characters: int = Field(default=3_000_000, ge=1)
    """How much of the run's text to train it on; the same amount from each language that has enough."""

    @model_validator(mode="after")
    def _lower_case_of_a_folder(self) -> "TokenizerConfig":
        if self.lower_case and self.path is None:
            raise ValueError(
                "lower_case is for the tokenizer in a folder, and a trained one keeps case: set path, or leave it out"
            )
        return self


class Tokenizer:
    """The tokenizer in a folder; it gives the same ids as transformers' AutoTokenizer, whatever the folder's format.

    Attributes: `vocab_size`, `pad_id`, `truncation_side` (the end at which long texts are cut), `digest` (sha256 of the
    tokenizer in its canonical form). Raises FileNotFoundError for a folder without a tokenizer, DataError for one that
    cannot be read, names no padding token, or gives token types other than 0. Threads may share one.
    """

    def __init__(self, folder: Path, lower_case: bool = False):
        self.folder = folder
        self._lock = Lock()  # held while `encode` has set a truncation, which other calls must not see
        opened = _open(folder)
        self._tokenizer, self._names = opened.tokenizer, opened.names
        self.truncation_side = opened.truncation_side
        if lower_case:
            _lower_case(self._tokenizer)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        if opened.token_types and any(self._tokenizer.encode("a").type_ids):
            raise DataError(f"{folder}: its tokenizer gives a text token types other than 0, which are not supported")
        self.pad_id = self._find_pad_id()
        canonical = self._tokenizer.to_str() + ("" if self.truncation_side == "right" else "cut on the left")
        self.digest = sha256(canonical.encode()).hexdigest()
        self.vocab_size = max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    def __getstate__(self) -> dict[str, Any]:
        """What a copy takes over: all but the lock, which cannot be copied."""
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=Lock())

    def _find_pad_id(self) -> int:
        """The id of the padding token that the folder names, or else of <pad> or [PAD].

        The latter is named from here on, so that `save` writes its name, and special, as saved tokenizers read it.
        """
        for token in (self._names.get("pad_token"), "<pad>", "[PAD]"):
            if token and (number := self._tokenizer.token_to_id(token)) is not None:
                self._names["pad_token"] = token
                if token not in {added.content for added in self._tokenizer.get_added_tokens_decoder().values()}:
                    self._tokenizer.add_special_tokens([token])
                return number
        raise DataError(f"{self.folder}: no padding token: set 'pad_token' in its tokenizer_config.json")

    def encode(self, texts: Sequence[str], max_length: int) -> tuple[list[np.ndarray], int]:
        """Token ids of each text, special tokens included, cut to `max_length`; and how many texts were cut."""
        with self._lock:
            self._tokenizer.enable_truncation(max_length, direction=self.truncation_side)
            try:
                encodings = self._tokenizer.encode_batch_fast(list(texts))
            finally:
                self._tokenizer.no_truncation()
        return [np.array(e.ids, np.int32) for e in encodings], sum(bool(e.overflowing) for e in encodings)

    @property
    def special(self) -> dict[str, int]:
        """The special tokens' ids by role: "pad_token" and so on."""
        ids = {role: self._tokenizer.token_to_id(token) for role, token in self._names.items()}
        return {role: number for role, number in ids.items() if number is not None}

    @property
    def texts(self) -> list[str]:
        """What each token stands for, without spaces and marks of word borders; "" for special tokens."""
        ids = [[number] for number in range(self.vocab_size)]
        return [text.strip().removeprefix("##") for text in self._tokenizer.decode_batch(ids)]

    def parts(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of each text, without special and unknown tokens."""
        unknown = self.special.get("unk_token")
        with self._lock:
            encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [[number for number in encoding.ids if number != unknown] for encoding in encodings]

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(list(ids))

    def save(self, folder: Path, max_length: int | None = None) -> None:
        """Writes the tokenizer to `folder` in a form that AutoTokenizer (transformers 4 and 5) and `Tokenizer` load.

        `max_length` is the number of tokens to which AutoTokenizer cuts texts.
        """
        limit = {} if max_length is None else {"model_max_length": max_length}
        side = {} if self.truncation_side == "right" else {"truncation_side": self.truncation_side}
        config = {"tokenizer_class": _VERBATIM, **self._names, **limit, **side}
        with self._lock:
            content = self._tokenizer.to_str()
        texts = {"tokenizer.json": content, "tokenizer_config.json": json.dumps(config, indent=2)}
        atomic_files(folder, {name: text.encode() for name, text in texts.items()})


_VERBATIM = "PreTrainedTokenizerFast"
"""With this class name, transformers 4 and 5 both use tokenizer.json as it is. With BertTokenizer and others, 5 builds
a tokenizer from the vocabulary and a few flags, whatever tokenizer.json says."""
_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model")


_PLAIN_KEYS = {"tokenizer_class", "model_max_length", "truncation_side", "padding_side", "model_input_names"}
"""With these and the names of special tokens alone, a tokenizer_config.json changes nothing in tokenizer.json."""


class _Opened(NamedTuple):
    tokenizer: tokenizers.Tokenizer
    names: dict[str, str]
    """The special tokens: "pad_token" and so on."""
    truncation_side: Literal["left", "right"]
    token_types: bool
    """transformers gives the model the token types as well."""


def _open(folder: Path) -> _Opened:
    if not any((folder / name).exists() for name in _FILES):
        raise FileNotFoundError(
            f"{folder} has no tokenizer.json: give a Hugging Face tokenizer folder "
            f'(python -c "import sys; from transformers import AutoTokenizer as T; '
            f'T.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[2])" MODEL {shlex.quote(str(folder))} writes it)'
        )
    try:
        path = folder / "tokenizer_config.json"
        config = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if (exact := _verbatim(folder, config)) is not None:
            return exact
        auto = import_transformers().AutoTokenizer  # a run's own tokenizer does without
        slow = auto.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        names = {name: str(token) for name, token in slow.special_tokens_map.items() if isinstance(token, str)}
        tokenizer = _exact(slow.backend_tokenizer.to_str())
        return _Opened(tokenizer, names, _side(slow.truncation_side), "token_type_ids" in slow.model_input_names)
    except Exception as error:  # noqa: BLE001 (both libraries raise bare ones, and whatever their parts raise)
        raise DataError(f"{folder}: its tokenizer cannot be read: {' '.join(str(error).split())[:300]}") from None


def _verbatim(folder: Path, config: dict[str, Any]) -> _Opened | None:
    """tokenizer.json as it is, where AutoTokenizer would not change it; None where it might."""
    path = folder / "tokenizer.json"
    alone = not config and not (folder / "config.json").exists()  # nothing to build it from
    others = any((folder / name).exists() for name in ("special_tokens_map.json", "added_tokens.json"))
    if not path.exists() or not (alone or (config.get("tokenizer_class") == _VERBATIM and not others)):
        return None
    text = path.read_text(encoding="utf-8")
    content = json.loads(text)
    named = {name: _content(value) for name, value in config.items() if name.endswith("_token")}
    names = {name: token for name, token in named.items() if token}
    added = {token["content"] for token in content.get("added_tokens", [])}
    tokenizer = _exact(text)
    # AutoTokenizer reads the named tokens as special ones in a text, also where tokenizer.json does not list them so.
    missing = sorted(set(names.values()) - added)
    if not set(config) <= _PLAIN_KEYS | set(names) or any(tokenizer.token_to_id(token) is None for token in missing):
        return None
    tokenizer.add_special_tokens(missing)
    side = config.get("truncation_side") or (content.get("truncation") or {}).get("direction", "right")
    return _Opened(tokenizer, names, _side(side), "token_type_ids" in config.get("model_input_names", []))


def _side(name: str) -> Literal["left", "right"]:
    if name.lower() not in ("left", "right"):
        raise ValueError(f"truncation_side = {name!r}: expected left or right")
    return "left" if name.lower() == "left" else "right"


def _lower_case(tokenizer: tokenizers.Tokenizer) -> None:
    """Lower-cases texts first, unless the normaliser has such a step: as sentence-transformers does."""
    own = tokenizer.normalizer
    steps = list(own) if isinstance(own, tokenizers.normalizers.Sequence) else [] if own is None else [own]
    lower = tokenizers.normalizers.Lowercase()
    if not any(isinstance(step, tokenizers.normalizers.Lowercase) for step in steps):
        tokenizer.normalizer = tokenizers.normalizers.Sequence([lower, *([] if own is None else [own])])


def _exact(text: str) -> tokenizers.Tokenizer:
    """The tokenizer of a tokenizer.json.

    `tokenizers` reads a number of 17 digits, such as most scores of XLM-R's pieces, up to one unit in the last place
    off; that can decide between two segmentations of a word that are equally likely. Python reads them exactly.
    """
    tokenizer = tokenizers.Tokenizer.from_str(text)
    if isinstance(tokenizer.model, tokenizers.models.Unigram):
        model = json.loads(text)["model"]
        pieces = [(piece, score) for piece, score in model["vocab"]]
        tokenizer.model = tokenizers.models.Unigram(pieces, model["unk_id"], model.get("byte_fallback", False))
    return tokenizer


def _content(token: object) -> str:
    """The text of a special token in tokenizer_config.json; "" for other values, such as that of add_bos_token."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else ""


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
    with sealed_folder(folder) as part:
        (part / "tokenizer.json").write_text(json.dumps(trained, ensure_ascii=False), encoding="utf-8")
        names = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
        config = {"tokenizer_class": _VERBATIM, **names, "cls_token": "<s>", "sep_token": "</s>"}
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
