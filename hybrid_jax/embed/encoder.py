"""Encodes texts into vectors: tokenizes them, packs them into rows of a few shapes, runs all devices.

How an encoder is loaded is in `load.py`.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import islice, starmap
from threading import Lock
from typing import Any

import jax
import numpy as np
from jax.experimental.multihost_utils import process_allgather
from jax.sharding import Mesh
from jaxtyping import Float

from hybrid_jax.data.fields import SURROGATE, show
from hybrid_jax.data.packing import Places, fill, pack
from hybrid_jax.data.tokenizer import Tokenizer
from hybrid_jax.embed.origin import Origin
from hybrid_jax.embed.progress import Progress
from hybrid_jax.embed.together import followed, share
from hybrid_jax.model.dual_encoder import ModelConfig, Parameters, Side, abstract, bind
from hybrid_jax.model.kernels import tokens_at_once
from hybrid_jax.model.precision import compute_dtype
from hybrid_jax.runtime.mesh import put_batch, seen_by_kernels

TEXTS_AT_ONCE = 65_536
"""Texts that are packed together. Bounds the memory that a long iterable takes."""
CALLS_IN_FLIGHT = 2
"""Calls of the compiled encoder at a time, where there is one device. While one waits for its slowest thread or for the
host, the other computes: on 2 cores 1.1 to 1.2 times the texts a second. With several devices calls take turns."""
_STARTING = Lock()
"""Held while a call is started, but not while it computes: two threads would compile the same program twice."""
SHORTEST_ROW = 128
"""Rows have this many tokens times a power of two."""


@dataclass(frozen=True)
class TextRules:
    """How a text is turned into token ids."""

    query_prompt: str = ""
    """Put before every query."""
    passage_prompt: str = ""
    """Put before every passage."""
    max_query_length: int = 512
    """The most tokens of a query, including its prompt and special tokens; longer queries are cut."""
    max_passage_length: int = 512
    """The most tokens of a passage, including its prompt and special tokens; longer passages are cut."""


@dataclass(frozen=True, repr=False)
class TextEncoder:
    """Turns texts into vectors of length 1, on all devices of `mesh`.

    `encode_queries(texts)` and `encode_passages(texts)` take any iterable of strings, which is read lazily, and return
    float32[texts, dim] in the same order. An empty text gets the vector of its prompt and special tokens; a text to
    which the tokenizer gives no token at all is refused.
    """

    tokenizer: Tokenizer
    model: ModelConfig
    rules: TextRules
    parameters: Parameters
    mesh: Mesh
    origin: Origin
    """Where the encoder was loaded from."""

    @property
    def dim(self) -> int:
        """The number of dimensions of a vector."""
        return self.model.dim

    def encode_queries(self, texts: Iterable[str], progress: bool | None = None) -> Float[np.ndarray, "texts dim"]:
        """Encodes queries. `progress` None shows a bar on a terminal and a line every half minute elsewhere; True shows
        a bar, and False nothing.

        Raises TypeError for a single string and for an item that is no string, ValueError for a string that holds half
        of a surrogate pair and for one without tokens. The messages name the item's position, counted from 0.
        """
        return self._encode("queries", texts, self.rules.query_prompt, self.rules.max_query_length, progress)

    def encode_passages(self, texts: Iterable[str], progress: bool | None = None) -> Float[np.ndarray, "texts dim"]:
        """Encodes passages, as `encode_queries` does queries."""
        return self._encode("passages", texts, self.rules.passage_prompt, self.rules.max_passage_length, progress)

    encode_query = encode_queries
    """The name that sentence-transformers uses."""
    encode_document = encode_passages
    """The name that sentence-transformers uses."""

    def __repr__(self) -> str:
        kind = f"{self.model.encoder.architecture}, {self.dim} dimensions"
        limits = f"{self.rules.max_query_length} and {self.rules.max_passage_length} tokens"
        return f"TextEncoder({self.origin.name}: {kind}, queries and passages of up to {limits})"

    def similarity(
        self, queries: Float[np.ndarray, "queries dim"], passages: Float[np.ndarray, "passages dim"]
    ) -> Float[np.ndarray, "queries passages"]:
        """The cosine of every query with every passage, which is their dot product since both have length 1."""
        return queries @ passages.T

    def _encode(
        self, side: Side, texts: Iterable[str], prompt: str, limit: int, progress: bool | None
    ) -> Float[np.ndarray, "texts dim"]:
        if isinstance(texts, str):
            raise TypeError(f"encode_{side} takes a list of texts, not one text: write [{texts[:30]!r}]")
        total = len(texts) if hasattr(texts, "__len__") else None  # pyright: ignore[reportArgumentType]
        vectors: list[np.ndarray] = []
        with Progress(side, total, progress) as shown:
            for number, chunk in enumerate(_chunks(texts, TEXTS_AT_ONCE)):
                first = number * TEXTS_AT_ONCE
                _check_texts(chunk, first, side)
                ids, _ = self.tokenizer.encode([prompt + text for text in chunk], limit)
                _check_tokens(ids, first, side)
                vectors.append(self._encode_tokens(side, ids, shown))
        return np.concatenate(vectors) if vectors else np.empty((0, self.dim), np.float32)

    def _encode_tokens(self, side: Side, ids: list[np.ndarray], progress: Progress) -> np.ndarray:
        """float32[texts, dim], in the order of `ids`; the longest texts are encoded first."""
        lengths = np.array([len(row) for row in ids])
        progress.tokenized(len(ids), int(lengths.sum()))
        vectors = np.empty((len(ids), self.dim), np.float32)

        def call(length: int, texts: np.ndarray, places: Places) -> np.ndarray:
            read = lambda numbers: np.concatenate([ids[number] for number in numbers])  # noqa: E731
            shape = (1, places.rows, length, _slots(length))
            batch = fill(places, texts, lengths[texts], read, len(ids), shape, self.tokenizer.pad_id)
            encoded = self._run(side, *share(side, (batch.tokens, batch.segments)))
            vectors[texts] = encoded[places.row, places.slot]
            return texts

        for texts in _in_flight(call, _calls(lengths, self.mesh.size), CALLS_IN_FLIGHT if self.mesh.size == 1 else 1):
            progress.encoded(len(texts), int(lengths[texts].sum()))
        return vectors

    @cached_property
    def _weights(self) -> Parameters:
        """The parameters with the matrices of linear layers converted once, not in every call."""
        dtype = compute_dtype(self.model.encoder.dtype)
        convert = lambda path, leaf: leaf.astype(dtype) if _is_kernel(path) else leaf  # noqa: E731
        return jax.tree_util.tree_map_with_path(convert, self.parameters)

    def follow(self) -> None:
        """Encodes this process' share of what process 0 encodes, until that lets it go. See `together.py`."""
        for side, (tokens, segments) in followed():
            self._run(side, tokens, segments)

    def _run(self, side: Side, tokens: np.ndarray, segments: np.ndarray) -> np.ndarray:
        """float32[rows, slots, dim] of all processes' rows; each gives its own, int32[1, rows, length]."""
        tokens, segments = put_batch(self.mesh, (tokens, segments))
        with _STARTING:
            encode = _compiled(self.model, side, self.mesh)  # pyright: ignore[reportArgumentType]  # frozen: hashable
            encoded = encode(self._weights, tokens[0], segments[0])
        return np.asarray(encoded if encoded.is_fully_addressable else process_allgather(encoded, tiled=True))


def _slots(length: int) -> int:
    return length // 8


def _is_kernel(path: tuple[Any, ...]) -> bool:
    """Whether this is the matrix of one of the encoder's linear layers; that of a projection stays float32."""
    names = [getattr(key, "key", None) for key in path]
    return "encoder" in names and names[-1] == "kernel"


def _calls(lengths: np.ndarray, devices: int) -> list[tuple[int, np.ndarray, Places]]:
    """What is encoded at a time: the length of its rows, the numbers of its texts, and their places in these rows."""
    calls = []
    for length, texts, places in _packed(lengths):
        at_once = max(1, tokens_at_once() // length) * devices
        for first in range(0, places.rows, at_once):
            rows = min(at_once, 1 << (places.rows - first - 1).bit_length())
            rows = -(-rows // devices) * devices
            here = np.flatnonzero((places.row >= first) & (places.row < first + rows))
            part = Places(places.row[here] - first, places.slot[here], places.start[here], rows)
            calls.append((length, texts[here], part))
    return calls


def _in_flight(call: Callable[..., np.ndarray], arguments: list[tuple[Any, ...]], threads: int) -> Iterator[np.ndarray]:
    """The results of `call`, of which so many run at a time. After an error or Ctrl-C no further one begins.

    Each call has a thread: on a CPU, calls that one thread starts ahead gain less (docs/performance.md).
    """
    if threads == 1:
        yield from starmap(call, arguments)
        return
    pool = ThreadPoolExecutor(threads)
    try:
        yield from (future.result() for future in [pool.submit(call, *one) for one in arguments])
    finally:
        pool.shutdown(cancel_futures=True)


def _packed(lengths: np.ndarray) -> Iterator[tuple[int, np.ndarray, Places]]:
    """Row lengths, the numbers of the texts in such rows, and their places.

    A text stands in the shortest rows that hold it, or fills up longer ones.
    """
    left = np.argsort(-lengths, kind="stable")
    while len(left):
        length = SHORTEST_ROW << max(int(lengths[left[0]] - 1) // SHORTEST_ROW, 0).bit_length()
        places = pack(lengths[left], length, _slots(length))
        shorter = length // 2 if length > SHORTEST_ROW else 0
        # Texts are placed from the longest to the shortest, so the rows of those that need this length come first.
        rows = int(places.row[lengths[left] > shorter].max()) + 1
        here = places.row < rows
        yield length, left[here], Places(places.row[here], places.slot[here], places.start[here], rows)
        left = left[~here]


@cache
def _compiled(model: ModelConfig, side: Side, mesh: Mesh) -> Callable[[Parameters, jax.Array, jax.Array], jax.Array]:
    """The jitted encoder of one side. Cached, so that encoders of the same architecture are compiled once."""
    code, _ = abstract(model)

    def encode(parameters: Parameters, tokens: jax.Array, segments: jax.Array) -> jax.Array:
        with seen_by_kernels(mesh):
            return bind(code, parameters).encode_packed(side, tokens, segments, _slots(tokens.shape[1]))

    return jax.jit(encode)


def _chunks(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    remaining = iter(texts)
    while chunk := list(islice(remaining, size)):
        yield chunk


def _check_texts(texts: list[Any], first: int, side: Side) -> None:
    """Raises TypeError or ValueError for the first of `texts` that the tokenizer cannot take."""
    for position, text in enumerate(texts, start=first):
        if not isinstance(text, str):
            raise TypeError(
                f'encode_{side}: text {position} is a {show(text)}, not a text; leave it out or give "" for it'
            )
        if not text.isascii() and SURROGATE.search(text):
            raise ValueError(
                f"encode_{side}: text {position} holds half of a surrogate pair ({show(text)}), which no encoding can "
                "hold; remove it, for instance with text.encode(errors='ignore').decode()"
            )


def _check_tokens(ids: list[np.ndarray], first: int, side: Side) -> None:
    """Raises ValueError if a text has no token, such as an empty one where the tokenizer adds no special tokens."""
    empty = [position for position, row in enumerate(ids, start=first) if not len(row)]
    if empty:
        shown = ", ".join(map(str, empty[:10])) + (f" and {len(empty) - 10} more" if len(empty) > 10 else "")
        prompt = "query_prompt" if side == "queries" else "passage_prompt"
        raise ValueError(
            f"encode_{side}: the tokenizer gives no tokens to text {shown}, so there is nothing to encode: leave such "
            f"texts out, or set {prompt}"
        )
