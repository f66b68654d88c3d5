"""How far an encoding is: a bar on a terminal, a line every half minute elsewhere. Both go to stderr."""

import sys
import time

from tqdm import tqdm

BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt} of {total_fmt} texts{postfix}"
COUNT = "{desc}: {n_fmt} texts{postfix}"
SECONDS = 30.0
"""Between two lines."""


class Progress:
    """Counts encoded texts, and estimates the time left from their tokens: the longest texts are encoded first.

    `total` is the number of texts, None if it is not known. `shown` None shows a bar on a terminal and lines elsewhere;
    True shows a bar in any case, and False nothing.
    """

    def __init__(self, what: str, total: int | None, shown: bool | None):
        self._what, self._total = what, total
        self._began = self._said = time.monotonic()
        self._texts = self._tokens = 0  # encoded
        self._tokenized = self._their_tokens = 0
        terminal = getattr(sys.stderr, "isatty", lambda: False)()  # what takes its place may have no such method
        self._lines = shown is None and not terminal
        self._bar = tqdm(
            total=total,
            desc=f"encoding {what}",
            bar_format=COUNT if total is None else BAR,
            disable=self._lines or shown is False,
            leave=False,
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def tokenized(self, texts: int, tokens: int) -> None:
        """So many further texts, with so many tokens together, will be encoded next."""
        self._tokenized += texts
        self._their_tokens += tokens

    def encoded(self, texts: int, tokens: int) -> None:
        """So many further texts are encoded."""
        self._texts += texts
        self._tokens += tokens
        self._bar.set_postfix_str(self._left(), refresh=False)
        self._bar.update(texts)
        if self._lines and time.monotonic() - self._said >= SECONDS:
            self._said = time.monotonic()
            of = "" if self._total is None else f" of {self._total:,}"
            left = self._left()
            sys.stderr.write(f"encoding {self._what}: {self._texts:,}{of} texts{', ' * bool(left)}{left}\n")

    def _left(self) -> str:
        """The time that the rest takes, at the pace so far and if texts to come are as long as those before."""
        if self._total is None:
            return ""
        tokens = self._their_tokens * self._total / self._tokenized
        seconds = (time.monotonic() - self._began) * (tokens - self._tokens) / self._tokens
        return f"about {tqdm.format_interval(seconds)} left"
