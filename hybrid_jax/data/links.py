"""Which passages count as the same: the keys that they have in common, and the groups that follow from them.

Every passage has up to three keys: its text as the model reads it, its text without the title, and its document id.
Texts are compared in a plain form, so that two texts which a tokenizer cannot tell apart have one key. Keys are kept as
128-bit hashes.
"""

import re
import unicodedata
from array import array
from hashlib import blake2b

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hybrid_jax.data.records import Passage, Row

KEY_BYTES = 16
"""The probability that two among a billion different keys have the same hash is below 1e-20."""

INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2581\ufe00-\ufe0f\ufffd]")
"""Beside control, format and private-use characters: joiners, fillers and variation selectors; the mark that
sentencepiece writes for a space; and the replacement character, which BERT's and XLM-R's tokenizers drop."""


def plain(text: str) -> str:
    """The form in which texts are compared: NFKC, without white space and characters that nobody sees.

    Tokenizers remove these differences, each in its own way: XLM-R's replaces a zero-width space by a space, BERT's
    drops it, and BERT's puts spaces around every Chinese character. Without any white space all of them agree. Case and
    accents are kept, although uncased tokenizers drop them. A text of nothing but such characters stays as it is.
    """
    if text.isascii():
        visible = "".join(text.split())
        return (visible if visible.isprintable() else "".join(filter(str.isprintable, visible))) or text
    visible = INVISIBLE.sub("", "".join(unicodedata.normalize("NFKC", text).split()))
    if not visible.isprintable():
        visible = "".join(letter for letter in visible if unicodedata.category(letter) not in ("Cc", "Cf", "Co"))
    return unicodedata.normalize("NFKC", visible) or text


def text_key(text: str) -> bytes:
    """The key of a text: equal for texts with the same plain form."""
    return blake2b(plain(text).encode(), digest_size=KEY_BYTES, person=b"text").digest()


def id_key(passage_id: str) -> bytes:
    """The key of a document id, which is never that of a text."""
    return blake2b(passage_id.encode(), digest_size=KEY_BYTES, person=b"id").digest()


class Links:
    """Collects keys while rows are read, at 16 bytes per distinct text and 20 per title, id or further positive's key.

    Texts and records are given by their numbers in the store; `groups` then says which texts belong together.
    """

    def __init__(self):
        self._texts = bytearray()
        self._untitled, self._ids = _Edges(), _Edges()  # from texts
        self._further = _Edges()  # from records
        self._further_positives = 0

    def add_text(self, text: str) -> None:
        """Adds the next text; texts come in the order of their numbers."""
        self._texts += text_key(text)

    def add_passage(self, number: int, passage: Passage) -> None:
        """Links text `number`, which is the passage with its title, to the passage's other keys."""
        if passage.title is not None:
            self._untitled.add(number, text_key(passage.text))
        if passage.id is not None:
            self._ids.add(number, id_key(passage.id))

    def add_record(self, record: int, row: Row) -> None:
        """Links the record to the keys of its positives in this row, except those of the row's passage."""
        self._further_positives += len(row.further_positives)
        for positive in row.further_positives:
            self._further.add(record, text_key(positive.with_title))
            if positive.title is not None:
                self._further.add(record, text_key(positive.text))
            if positive.id is not None:
                self._further.add(record, id_key(positive.id))
        if row.passage is None and row.passage_id is not None:
            self._further.add(record, id_key(row.passage_id))

    def groups(self, entries: np.ndarray, negatives: np.ndarray, records: int) -> tuple[np.ndarray, dict[str, int]]:
        """int32[texts], each text's group, and the counts for `summary`.

        `entries` is ENTRY[entries], sorted by record, and `negatives` int[n] the text numbers of their negatives.

        Groups are the connected components of a graph of records and keys: a record is connected to the keys of all its
        positives, and the keys of one passage to one another. A record is not connected to its negatives, so records
        with a negative in common stay apart. Nor are two records with the same query connected: general queries ("What
        did he do?") would chain a third of a dataset into one group.
        """
        edges = (self._untitled, self._ids, self._further)
        ends = np.cumsum([len(self._texts) // KEY_BYTES, *(len(edge.owners) for edge in edges)])
        joined = self._texts
        for edge in edges:
            joined += edge.keys
            edge.keys.clear()
        numbers, keys = _number(joined)
        self._texts = joined = bytearray()  # frees the keys
        text, untitled, ids, further, _ = np.split(numbers, ends)
        passages = entries[entries["passage"] >= 0]
        untitled_links = np.stack([untitled, text[self._untitled.owners]])
        id_links = np.stack([ids, text[self._ids.owners]])
        links = [  # the nodes are keys, and then records
            np.stack([text[passages["passage"]], keys + passages["record"]]),
            np.stack([further, keys + np.array(self._further.owners, np.int64)]),
            untitled_links,
            id_links,
        ]
        components = _components(np.concatenate(links, axis=1), keys + records)
        group_of_record = components[keys:]
        del links

        is_passage = _marked(len(text), passages["passage"], negatives)
        is_passage_key = _marked(keys, text[is_passage])
        bare = np.flatnonzero(is_passage_key & _marked(keys, untitled))
        owners = np.repeat(entries["record"], entries["negatives"])
        negatives_by_owner = negatives[_ranges(entries["first_negative"], entries["negatives"])]
        queries = entries[entries["query"] >= 0]
        query_groups = np.stack([text[queries["query"]], group_of_record[queries["record"]]])
        counts = {
            "further_positives": self._further_positives,
            "own_negatives": int((components[text[negatives_by_owner]] == group_of_record[owners]).sum()),
            "plain": int(is_passage.sum() - is_passage_key.sum()),
            "untitled": _in_common(np.concatenate([untitled_links, np.stack([bare, bare])], axis=1)),
            "ids": _in_common(id_links),
            "queries": _in_common(query_groups),
        }
        groups = components[text]
        return (np.cumsum(_marked(len(components), groups), dtype=np.int32) - 1)[groups], counts


def summary(counts: dict[str, int]) -> list[str]:
    """The counts of `Links.groups` in words: at most two lines."""
    words = {
        "further_positives": "further positives, used for masking",
        "own_negatives": "negatives that are a positive of their own query, masked",
        "plain": "texts equal to another but for Unicode form, white space or invisible characters",
        "untitled": "texts equal to another but for the title",
        "ids": "texts with the document id of another",
    }
    linked = [f"{counts[name]:,} {text}" for name, text in words.items() if counts[name]]
    lines = [f"linked, never negatives of one another's queries: {'; '.join(linked)}"] if linked else []
    if counts["queries"]:
        lines.append(
            f"{counts['queries']:,} queries are also those of another record, whose passage counts as their negative: "
            f"where it answers them, list it among their positives"
        )
    return lines


class _Edges:
    """Pairs of an owner (the number of a text or record) and a key."""

    def __init__(self):
        self.owners, self.keys = array("i"), bytearray()

    def add(self, owner: int, key: bytes) -> None:
        self.owners.append(owner)
        self.keys += key


def _number(keys: bytes | bytearray) -> tuple[np.ndarray, int]:
    """int32[n]: a number from 0 for each key of 16 bytes, equal for equal keys; and the count of different keys."""
    halves = np.frombuffer(keys, np.uint64).reshape(-1, 2)
    order = np.lexsort(halves.T)
    is_new = np.ones(len(order), bool)
    is_new[1:] = False
    for half in halves.T:
        values = half[order]
        is_new[1:] |= values[1:] != values[:-1]
    numbers = np.empty(len(order), np.int32)
    numbers[order] = np.cumsum(is_new, dtype=np.int32) - 1
    return numbers, int(is_new.sum())


def _marked(size: int, *places: np.ndarray) -> np.ndarray:
    """bool[size]: True at all the places."""
    marked = np.zeros(size, bool)
    for some in places:
        marked[some] = True
    return marked


def _components(links: np.ndarray, nodes: int) -> np.ndarray:
    """int32[nodes]: the connected component of each node; `links` is int[2, n]."""
    graph = coo_array((np.ones(links.shape[1], np.int8), (links[0], links[1])), shape=(nodes, nodes))
    return connected_components(graph, directed=False)[1]


def _ranges(first: np.ndarray, length: np.ndarray) -> np.ndarray:
    """int64[sum of lengths]: first[0], first[0] + 1, … up to `length[0]` numbers, then the same for first[1] …"""
    before = np.cumsum(length) - length
    return np.arange(length.sum()) + np.repeat(first - before, length)


def _in_common(links: np.ndarray) -> int:
    """How many different links (int[2, n]) have a left end that another one before them has."""
    size = int(links.max(initial=0)) + 1
    pairs = np.unique(links[0].astype(np.int64) * size + links[1])
    return len(pairs) - len(np.unique(pairs // size))
