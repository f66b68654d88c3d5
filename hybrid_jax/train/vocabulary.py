"""A run's vocabulary: what the tokenizer and the model must agree on, and what new words begin as."""

from collections.abc import Callable, Sequence

from hybrid_jax.data.tokenizer import Tokenizer
from hybrid_jax.data.vocabulary import old_tokens
from hybrid_jax.hub.weights import Pretrained
from hybrid_jax.model.families import EncoderConfig


class VocabularyError(ValueError):
    """A tokenizer and a model that do not fit; the message says what to set."""


def check_vocabulary(
    tokenizer: Tokenizer, encoder: EncoderConfig, pretrained: Pretrained | None, new_vocabulary: bool
) -> None:
    """Raises VocabularyError if the word embedding is too small for the tokenizer, or is another tokenizer's, or if
    the model takes tokens for padding that are none.

    With `new_vocabulary` the word embedding is made for this tokenizer, whatever the pretrained model's is.
    """
    if tokenizer.vocab_size > encoder.vocab_size:
        raise VocabularyError(
            f"the tokenizer has {tokenizer.vocab_size} tokens, but model.encoder.vocab_size is {encoder.vocab_size}: "
            f"raise it"
        )
    offset = getattr(encoder, "position_offset", 0)
    if offset > 0 and tokenizer.pad_id != offset - 1:
        advice = f"or set model.encoder.position_offset 0 or {tokenizer.pad_id + 1}" if pretrained is None else ""
        raise VocabularyError(
            f"model.encoder.position_offset {offset} belongs to a tokenizer whose padding id is {offset - 1}, and that "
            f"of {tokenizer.folder} is {tokenizer.pad_id}: leave data.tokenizer.path out, which trains one with id 1 "
            f"{advice}".rstrip()
        )
    if pretrained is None or new_vocabulary or tokenizer.folder == pretrained.transformer:
        return
    if tokenizer.texts != Tokenizer(pretrained.transformer, pretrained.lower_case).texts:
        raise VocabularyError(
            f"data.tokenizer {tokenizer.folder} is not the tokenizer of {pretrained.folder}, whose word embedding "
            f"would have the wrong words: leave data.tokenizer.path out, or set vocabulary new"
        )


def new_words(pretrained: Pretrained, tokenizer: Tokenizer, say: Callable[[str], None]) -> Sequence[Sequence[int]]:
    """The new vocabulary in tokens of the pretrained model's."""
    tokens = old_tokens(Tokenizer(pretrained.transformer, pretrained.lower_case), tokenizer)
    from_old = sum(map(bool, tokens))
    say(
        f"a new vocabulary of {len(tokens):,} tokens: {from_old:,} start as the mean of the pretrained tokens of their "
        f"text, {len(tokens) - from_old:,} are drawn"
    )
    return tokens
