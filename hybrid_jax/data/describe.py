"""Tables in plain text: what is in a dataset, and what is in the batches of some steps."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Int
from scipy.sparse import csr_array

from hybrid_jax.data.batch import Batch
from hybrid_jax.data.links import summary
from hybrid_jax.data.schedule import Kind, MixtureConfig, Pools, Schedule
from hybrid_jax.data.store import Store
from hybrid_jax.disk.tables import aligned

_LANGUAGES_IN_PLAN = 12
_LANGUAGES_SHOWN, _IDS_SHOWN, _ID_LENGTH = 3, 2, 20


def language_pairs(store: Store) -> Int[np.ndarray, "languages languages"]:
    """The number of (query, passage) pairs in each pair of languages, which are numbered as in the store.

    Rows are query languages. The diagonal counts monolingual pairs, and the rest cross-lingual ones.
    """
    shape = (len(store.record_offsets) - 1, len(store.languages))
    sides = []
    for side in ("query", "passage"):
        entries = store.entries[store.entries[side] >= 0]
        sides.append(csr_array((np.ones(len(entries), np.int64), (entries["record"], entries["lang"])), shape=shape))
    queries, passages = sides
    return (queries.T @ passages).toarray()


def describe(store: Store, heldout_fraction: float) -> list[str]:
    """A dataset's counts as lines: sizes, groups, notes, languages and pairs of languages."""
    every_record = np.ones(len(store.record_offsets) - 1, bool)
    lines = [
        f"{store.meta['name']}: {len(every_record):,} records, {len(store.entries):,} rows in "
        f"{len(store.languages)} languages, {len(store.texts):,} different texts"
    ]
    sizes = {kind: sum(map(len, store.pools(kind, every_record).values())) for kind in store.kinds}
    for kind, size in sizes.items():
        drawn = f"{kind} batches draw from {size:,} {'rows' if kind == 'monolingual' else 'records'}"
        lines.append(f"  {store.describe_aligned() if kind == 'aligned' else drawn}")
    lines += [f"  {line}" for line in store.describe_uses(store.kinds)]
    if heldout_fraction:
        lines.append(f"  held out of training: {store.held_out(heldout_fraction).sum():,} records, whole groups")
    notes = "\n".join([*summary(store.meta["linked"]), *store.meta["notes"]])
    lines += [f"  {line}" for line in (_groups(store), *notes.splitlines())]
    lines += ["", *(f"  {line}" for line in aligned(_by_language(store)))]
    if "cross_lingual" in store.kinds:
        lines += ["", "  cross-lingual pairs, query language down, passage language across:"]
        lines += [f"  {line}" for line in aligned(_by_pair(store))]
    return lines


def drawn(sizes: Mapping[str, Pools], mixture: MixtureConfig) -> list[tuple[Kind, str]]:
    """Each kind of batch with its share, and the rows or records that it draws from, by language or dataset."""
    lines: list[tuple[Kind, str]] = []
    up_to = "up to " if sum(mixture.shares.values()) > 1 else ""  # a curriculum has largest shares
    shared = "batches" if mixture.mix == "batches" else "each batch"
    for kind, share in mixture.shares.items():
        counts = Counter[str]()
        for name, pools in sizes.items():
            counts.update(pools.monolingual if kind == "monolingual" else {name: pools.size(kind)})
        unit = "rows" if kind == "monolingual" else "records"
        shown = listed(counts, _LANGUAGES_IN_PLAN)
        lines.append((kind, f"{up_to}{float(share):.0%} of {shared}, from {counts.total():,} {unit}: {shown}"))
    return lines


def heldout_drawn(schedule: Schedule, sizes: Mapping[str, Pools], batches: int) -> str:
    """The kinds and languages of the first `batches` of a held-out schedule, and those of its pools that they lack.

    `sizes` are the sizes of the held-out pools, by dataset.
    """
    parts = [(plan.dataset, plan.parts[0]) for plan in map(schedule, range(batches))]
    read = {(dataset, part.kind, part.language) for dataset, part in parts}
    missed = [
        f"{name} {kind}{f' in {language}' if language else ''}"
        for name, pools in sizes.items()
        for kind in schedule.mixture.shares
        for language in (sorted(pools.monolingual) if kind == "monolingual" else [None] if pools.size(kind) else [])
        if (name, kind, language) not in read
    ]
    kinds = Counter(part.kind for _, part in parts)
    languages = sorted({part.language for _, part in parts if part.language})
    shown = ", ".join(
        f"{count} {kind}{f' in {_first(languages)}' if kind == 'monolingual' else ''}" for kind, count in kinds.items()
    )
    return f"{shown}{f'; not measured: {_first(missed)} (heldout_batches {batches} is too few)' if missed else ''}"


def _first(names: Sequence[str]) -> str:
    more = [f"+{len(names) - _LANGUAGES_IN_PLAN}"] if len(names) > _LANGUAGES_IN_PLAN else []
    return ", ".join([*names[:_LANGUAGES_IN_PLAN], *more])


def listed(counts: Mapping[str, int], most: int, form: str = "{} {:,}", between: str = ", ") -> str:
    """The names with the greatest counts, each in the given form, and the number of further ones."""
    ordered = sorted(((name, count) for name, count in counts.items() if count), key=lambda item: (-item[1], item[0]))
    more = [f"+{len(ordered) - most}"] if len(ordered) > most else []
    return between.join([*(form.format(*item) for item in ordered[:most]), *more])


def preview(batches: Iterable[Batch]) -> list[str]:
    """A table with a line for each batch, and a last line with the number of batches of each kind, or of pairs where
    batches have several."""
    header = ["step", "kind", "dataset", "languages", "tokens", "rows", "first records"]
    rows, kinds, pairs = [header], Counter[str](), Counter[str]()
    for batch in batches:
        kinds[batch.plan.kind] += 1
        pairs.update({part.kind: len(part.rows) for part in batch.plan.parts})
        rows.append(
            [
                str(batch.plan.step),
                batch.plan.kind,
                batch.plan.dataset,
                _languages(batch),
                f"{batch.lengths.sum():,}",
                batch.digest,
                ", ".join(_cut(record) for record in list(dict.fromkeys(batch.ids))[:_IDS_SHOWN]),
            ]
        )
    steps = len(rows) - 1
    mixed = any(" + " in kind for kind in kinds)
    counted, unit = (pairs, " pairs") if mixed else (kinds, "")
    counts = [f"{n:,} {kind}{unit} ({n / counted.total():.1%})" for kind, n in sorted(counted.items())]
    return [*aligned(rows, left=range(1, len(header))), f"{steps} batches: {', '.join(counts)}"]


def _languages(batch: Batch) -> str:
    """Of each part: the one language, the queries' and the passages' languages, or the languages and the records of
    aligned pairs."""
    shown: list[str] = []
    for part, rows in batch.parts:
        queries, passages = batch.query_languages[rows], batch.passage_languages[rows]
        if part.kind == "aligned":
            shown.append(f"{_short(queries)}, {len(set(batch.ids[rows]))} records")
        else:
            shown.append(part.language or f"{_short(queries)} -> {_short(passages)}")
    return " + ".join(shown)


def _groups(store: Store) -> str:
    with_passage = np.flatnonzero(store.record_group >= 0)
    if not len(with_passage):
        return "groups: none, as there is no passage"
    _, first, counts = np.unique(store.record_group[with_passage], return_index=True, return_counts=True)
    largest = int(counts.argmax())
    name = _cut(store.ids[with_passage[first[largest]]])
    size = (
        f"the largest of {counts[largest]:,} records ({name} and others)" if counts[largest] > 1 else "one record each"
    )
    return f"groups, records that share a passage and are never each other's negatives: {len(counts):,}, {size}"


def _by_language(store: Store) -> list[list[str]]:
    size = len(store.languages)
    has_query, has_passage = store.entries["query"] >= 0, store.entries["passage"] >= 0
    columns = {"queries": has_query, "passages": has_passage, "pairs in this language": has_query & has_passage}
    if store.kinds == ("cross_lingual",):
        del columns["pairs in this language"]  # each would be a text paired with itself
    counts = [np.bincount(store.entries["lang"][mask], minlength=size) for mask in columns.values()]
    rows = [[store.languages[i], *(f"{count[i]:,}" for count in counts)] for i in _alphabetical(store)]
    return [["language", *columns], *rows, ["all", *(f"{count.sum():,}" for count in counts)]]


def _by_pair(store: Store) -> list[list[str]]:
    pairs, order = language_pairs(store), _alphabetical(store)
    header = ["", *(store.languages[i] for i in order)]
    return [header, *([store.languages[i], *("-" if i == j else f"{pairs[i, j]:,}" for j in order)] for i in order)]


def _alphabetical(store: Store) -> list[int]:
    return sorted(range(len(store.languages)), key=store.languages.__getitem__)


def _short(languages: Sequence[str]) -> str:
    """The most frequent languages with their counts, and the number of further ones: "en 9 ru 8 de 7 +8"."""
    return listed(Counter(languages), _LANGUAGES_SHOWN, "{} {}", " ")


def _cut(name: str) -> str:
    return name if len(name) <= _ID_LENGTH else f"{name[: _ID_LENGTH - 1]}…"
