"""A run's vocabulary: what the tokenizer and the model must agree on, and what new words begin as."""

from collections.abc import Callable, Sequence

from hybrid_jax.config import Config, ConfigError
from hybrid_jax.data.tokenizer import Tokenizer
from hybrid_jax.data.vocabulary import old_tokens
from hybrid_jax.hub.weights import Pretrained


def check_vocabulary(tokenizer: Tokenizer, config: Config, pretrained: Pretrained | None) -> None:
    """Raises ConfigError if the word embedding is too small for the tokenizer, or is another tokenizer's, or if the
    model takes tokens for padding that are none."""
    encoder = config.model.encoder
    if tokenizer.vocab_size > encoder.vocab_size:
        raise ConfigError(
            f"the tokenizer has {tokenizer.vocab_size} tokens, but model.encoder.vocab_size is {encoder.vocab_size}: "
            f"raise it"
        )
    offset = getattr(encoder, "position_offset", 0)
    if offset > 0 and tokenizer.pad_id != offset - 1:
        raise ConfigError(
            f"model.encoder.position_offset {offset} belongs to a tokenizer whose padding id is {offset - 1}, and that "
            f"of this one is {tokenizer.pad_id}: set model.encoder.position_offset 0 or {tokenizer.pad_id + 1}"
        )
    if pretrained is None or config.vocabulary == "new" or tokenizer.folder == pretrained.transformer:
        return
    if tokenizer.texts != Tokenizer(pretrained.transformer, pretrained.lower_case).texts:
        raise ConfigError(
            f"data.tokenizer {tokenizer.folder} is not the tokenizer of {config.pretrained}, whose word embedding "
            f"would have the wrong words: leave data.tokenizer.path out, or set vocabulary new"
        )


def new_words(
    config: Config, pretrained: Pretrained, tokenizer: Tokenizer, say: Callable[[str], None]
) -> Sequence[Sequence[int]] | None:
    """The new vocabulary in tokens of the pretrained model's; None if the run keeps the latter."""
    if config.vocabulary == "pretrained":
        return None
    tokens = old_tokens(Tokenizer(pretrained.transformer, pretrained.lower_case), tokenizer)
    from_old = sum(map(bool, tokens))
    say(
        f"a new vocabulary of {len(tokens):,} tokens: {from_old:,} start as the mean of the pretrained tokens of their "
        f"text, {len(tokens) - from_old:,} are drawn"
    )
    return tokens
