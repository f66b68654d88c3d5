"""A new vocabulary in terms of an old one: which of the old tokens make up the text of each new token."""

from collections.abc import Sequence

from hybrid_jax.data.tokenizer import Tokenizer

_ROLES = ("cls_token", "sep_token", "pad_token", "unk_token", "mask_token")


def old_tokens(old: Tokenizer, new: Tokenizer) -> Sequence[Sequence[int]]:
    """For each token of `new`, ids of `old`: those of its text, or the special token of the same role.

    Unknown tokens of `old` are left out. So a token is without any if its text is a space, a part of a character, or
    in letters that `old` does not know.
    """
    tokens = list(old.parts(new.texts))
    for role in _ROLES:
        if role in new.special and role in old.special:
            tokens[new.special[role]] = [old.special[role]]
    return tokens
