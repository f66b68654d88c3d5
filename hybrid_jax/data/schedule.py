"""The batch schedule: what is in batch `step`, as a pure function of (configuration, seed, step).

This is the *hybrid* of hybrid batch training (arXiv 2408.10536): each batch is either monolingual (one language,
X-X-mono) or cross-lingual (query and passage in different languages, X-Y), in the ratio α : 1-α. There is no iterator
and no state: any step can be asked for at any time, on any host, in well under a millisecond.

In an *aligned* batch (ours) a record stands in `group_size` of its languages, so that its translations are in the batch
and can be positives (`loss.positives`). With `mix: pairs` (ours) every batch has every kind, a *part* of each.

    step ──kind──▶ n-th batch of this kind ──dataset──▶ n-th of this dataset ──language──▶ n-th of this pool ──▶ rows

    step ──dataset──▶ n-th of this dataset ──language──▶ n-th of this pool ──▶ rows  (each part, `mix: pairs`)

Every arrow is a sequence of choices (`shares.py`). It answers "which choice is made at position n, and how often was it
made before?", and that count is the position for the next arrow. So every pool of rows is read to its end, in shuffled
epochs, without state. Only names and sizes of pools are needed here, no texts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate, pairwise
from math import floor
from typing import Literal, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hybrid_jax.data.hashing import hash_ints, mix, permute
from hybrid_jax.data.shares import CoinFlips, Curriculum, Quota, interpolated, size_shares

Kind = Literal["monolingual", "same_language", "cross_lingual", "aligned"]
KINDS: tuple[Kind, ...] = ("monolingual", "same_language", "cross_lingual", "aligned")
Sampling = Literal["uniform", "proportional", "smoothed"]
Choices = Callable[[int], tuple[str, int]]
"""position -> (choice, position in the choice's own sequence)"""


class MixtureConfig(BaseModel):
    """Which batches a run sees: kinds, datasets and languages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    monolingual_fraction: float | tuple[tuple[int, float], ...] = 0.5
    """The paper's α: the share of monolingual batches. A list of [step, α] points makes a curriculum: linear between
    the points, constant before the first and after the last."""
    others: Literal["cross_lingual", "aligned"] = "cross_lingual"
    """The kind of the other batches, 1-α of them; cross_lingual in the paper."""
    weights: dict[Kind, float] | None = None
    """A mixture of any kinds by weight, such as {monolingual: 2, same_language: 1, cross_lingual: 1}; it replaces
    monolingual_fraction and others."""
    mix: Literal["batches", "pairs"] = "batches"
    """batches: each batch is of one kind, as in the paper. pairs: each batch has every kind, and of B pairs exactly α·B
    (rounded) are monolingual, in one language; all are one another's negatives. Every dataset needs every kind."""
    group_size: int = Field(default=4, ge=2)
    """k of aligned batches: a record gives a pair in each of k languages, or in all it has if these are fewer; further
    records fill the batch. batch_size must be a multiple of k. The pairs are positives of one another with
    loss.positives: all."""
    draw: Literal["exact", "bernoulli"] = "exact"
    """exact: after any n steps each kind's count is within 1 of n·weight, and every pool is read epoch by epoch.
    bernoulli: the paper's coin flip at every step; which rows a step gets is then random, too."""
    dataset_sampling: Sampling = "proportional"
    """How a dataset is chosen: by its number of rows (the paper's abstract), uniformly, or smoothed (size^τ)."""
    language_sampling: Sampling = "uniform"
    """How the languages of monolingual batches and of mixed pairs are chosen (uniform: the paper's body)."""
    smoothing: float = Field(default=0.5, ge=0.0, le=1.0)
    """τ of the smoothed samplings: 0 is uniform, 1 is proportional."""

    @model_validator(mode="after")
    def _check(self) -> "MixtureConfig":
        steps = [step for step, _ in self.curriculum]
        if not steps or steps[0] < 0 or any(b <= a for a, b in pairwise(steps)):
            raise ValueError(f"monolingual_fraction: the steps {steps} of a curriculum must increase from 0 or later")
        if any(not 0 <= share <= 1 for _, share in self.curriculum):
            raise ValueError(f"monolingual_fraction {self.monolingual_fraction} must lie between 0 and 1")
        if self.weights is not None and (min(self.weights.values(), default=0) < 0 or not any(self.weights.values())):
            raise ValueError(f"weights {self.weights} must be zero or more, and one of them above zero")
        if self.mix == "pairs" and self.draw == "bernoulli":
            raise ValueError("draw bernoulli flips a coin for whole batches, and mix pairs has none: use draw exact")
        _kind_choices(self, seed=0)  # raises ValueError for shares that repeat only after too many steps
        return self

    @property
    def curriculum(self) -> list[tuple[int, Fraction]]:
        """monolingual_fraction as (step, α) points; a constant is one point."""
        alpha = self.monolingual_fraction
        points = ((0, alpha),) if isinstance(alpha, int | float) else alpha
        return [(step, Fraction(str(share))) for step, share in points]

    @property
    def shares(self) -> dict[Kind, Fraction]:
        """Each kind's largest share over the run; a kind that never occurs is left out."""
        if self.weights is not None:
            total = sum(Fraction(str(weight)) for weight in self.weights.values())
            shares = {kind: Fraction(str(self.weights.get(kind, 0))) / total for kind in KINDS}
        else:
            alphas = [share for _, share in self.curriculum]
            shares = {"monolingual": max(alphas), self.others: 1 - min(alphas)}
        return {cast(Kind, kind): share for kind, share in shares.items() if share > 0}

    def shares_at(self, step: int) -> dict[Kind, Fraction]:
        """Each kind's share at a step: `shares`, unless α follows a curriculum."""
        if self.weights is not None or len(self.curriculum) == 1:
            return self.shares
        alpha = interpolated(self.curriculum, step)
        return {kind: alpha if kind == "monolingual" else 1 - alpha for kind in self.shares}

    def pairs_at(self, step: int, batch_size: int) -> dict[Kind, int]:
        """How many pairs of each kind a batch has with `mix` pairs. The bounds between kinds are rounded, half up."""
        ends = accumulate(self.shares_at(step).values(), initial=Fraction(0))
        bounds = [floor(end * batch_size + Fraction(1, 2)) for end in ends]
        return dict(zip(self.shares, np.diff(bounds).tolist(), strict=True))

    def most_pairs(self, batch_size: int) -> dict[Kind, int]:
        """The most pairs of each kind in any batch; α is greatest or least at a point of its curriculum."""
        if self.mix == "batches":
            return dict.fromkeys(self.shares, batch_size)
        counts = [self.pairs_at(step, batch_size) for step, _ in self.curriculum]
        return {kind: max(count[kind] for count in counts) for kind in self.shares}

    def check_batch_size(self, batch_size: int) -> None:
        """Raises ValueError if batches of `batch_size` pairs cannot have a kind, or not in whole aligned groups."""
        pairs = self.most_pairs(batch_size)
        if absent := [kind for kind, count in pairs.items() if not count]:
            raise ValueError(
                f"mixture.mix pairs: a batch of {batch_size} pairs has no {absent[0]} ones, whose share is too small: "
                f"raise it or batch_size, or use mix batches"
            )
        if self.mix == "pairs" and "aligned" in pairs and len(pairs) > 1:
            changes = self.weights is None and len(self.curriculum) > 1
            if changes or pairs["aligned"] % self.group_size:
                number = "a changing number" if changes else pairs["aligned"]
                raise ValueError(
                    f"mixture.mix pairs: {number} of batch_size {batch_size} pairs are aligned, not a multiple of "
                    f"mixture.group_size {self.group_size}: change the shares"
                )
        if "aligned" in self.shares and batch_size % self.group_size:
            near = batch_size - batch_size % self.group_size
            sizes = " or ".join(str(size) for size in (near, near + self.group_size) if size)
            raise ValueError(
                f"batch_size {batch_size} is not a multiple of mixture.group_size {self.group_size}, which aligned "
                f"batches need: make it {sizes}"
            )

    def exponent(self, sampling: Sampling) -> float:
        """The τ of size^τ that `sampling` means."""
        return {"uniform": 0.0, "proportional": 1.0, "smoothed": self.smoothing}[sampling]


@dataclass(frozen=True)
class Pools:
    """The sizes of one dataset's pools of rows; `monolingual` has a pool for each language."""

    monolingual: Mapping[str, int]
    same_language: int
    cross_lingual: int
    aligned: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    """int[records]: in how many languages each record of the aligned pool can give a pair, at least 2."""

    def size(self, kind: Kind) -> int:
        """The number of rows of this kind, over all languages; of records for the aligned kind."""
        if kind == "aligned":
            return len(self.aligned)
        return sum(self.monolingual.values()) if kind == "monolingual" else getattr(self, kind)


@dataclass(frozen=True)
class Part:
    """The rows of one kind in a batch."""

    kind: Kind
    language: str | None
    """That of a monolingual part; None where languages are mixed."""
    rows: np.ndarray
    """int64[rows]: distinct positions in the dataset's pool of this kind and language. An aligned part repeats the
    position of a record for each of its pairs, which follow one another."""
    random: np.ndarray
    """uint64[rows]: one random number per row, by which pairing chooses languages and hard negatives."""


@dataclass(frozen=True)
class BatchPlan:
    """What is in one batch."""

    step: int
    dataset: str
    parts: tuple[Part, ...]
    """One, or with `mix: pairs` one for each kind that has pairs at this step. Their rows follow one another."""

    @property
    def kind(self) -> str:
        """That of the batch, or of its parts: "monolingual + cross_lingual"."""
        return " + ".join(part.kind for part in self.parts)


class Schedule:
    """`schedule(step)` is the plan of batch `step`: a pure function of (mixture, pools, batch_size, seed, step).

    Raises ValueError with the dataset and the fix if a kind has no rows, or a pool is smaller than what a batch takes.
    """

    def __init__(self, mixture: MixtureConfig, pools: Mapping[str, Pools], batch_size: int, seed: int):
        _check_sizes(mixture, pools, batch_size)
        self.batch_size, self.seed, self.mixture = batch_size, seed, mixture
        self._pools = dict(pools)
        self._rows_read = {
            (name, kind): rows_read(pool, kind, pairs, mixture.group_size)
            for name, pool in pools.items()
            for kind, pairs in mixture.most_pairs(batch_size).items()
        }

        def choices(sampling: Sampling, sizes: Mapping[str, int], *name: str) -> Choices:
            shares = size_shares(sizes, mixture.exponent(sampling))
            return Quota(shares) if mixture.draw == "exact" else CoinFlips(shares, hash_ints(seed, *name))

        self._kind = _kind_choices(mixture, seed)
        self._dataset: dict[tuple[Kind, ...], Choices] = {}
        single: list[tuple[Kind, ...]] = [(kind,) for kind in mixture.shares]
        for kinds in [tuple(mixture.shares)] if mixture.mix == "pairs" else single:
            sizes = {name: sum(map(pool.size, kinds)) for name, pool in pools.items() if any(map(pool.size, kinds))}
            self._dataset[kinds] = choices(mixture.dataset_sampling, sizes, "dataset", *kinds)
        self._language = {
            name: choices(mixture.language_sampling, pool.monolingual, "language", name)
            for name, pool in pools.items()
            if pool.monolingual and "monolingual" in mixture.shares
        }

    def __call__(self, step: int) -> BatchPlan:
        if self.mixture.mix == "pairs":
            position, pairs = step, self.mixture.pairs_at(step, self.batch_size)
        else:
            kind, position = cast(tuple[Kind, int], self._kind(step))
            pairs = dict[Kind, int]({kind: self.batch_size})
        dataset, position = self._dataset[tuple(pairs)](position)
        random = mix(np.arange(self.batch_size, dtype=np.uint64) ^ np.uint64(hash_ints(self.seed, "row", step)))
        of_kinds = np.split(random, np.cumsum(list(pairs.values()))[:-1])
        parts = [self._part(dataset, kind, position, part) for kind, part in zip(pairs, of_kinds, strict=True)]
        return BatchPlan(step, dataset, tuple(part for part in parts if len(part.rows)))

    def _part(self, dataset: str, kind: Kind, position: int, random: np.ndarray) -> Part:
        """The `position`-th part of this kind from the dataset, with a row for each random number."""
        language, size = None, self._pools[dataset].size(kind)
        if kind == "monolingual":
            language, position = self._language[dataset](position)
            size = self._pools[dataset].monolingual[language]

        # An epoch consists of whole parts; other rows are left over after the next shuffle.
        count = self._rows_read[dataset, kind]
        epoch, batch = divmod(position, size // count)
        key = hash_ints(self.seed, dataset, kind, language, epoch)
        rows = permute(np.arange(count, dtype=np.uint64) + np.uint64(batch * count), size, key).astype(np.int64)
        if kind == "aligned":
            rows = np.repeat(rows, np.minimum(self._pools[dataset].aligned[rows], self.mixture.group_size))
        return Part(kind, language, rows[: len(random)], random)  # rows that were read for nothing wait for an epoch


def _kind_choices(mixture: MixtureConfig, seed: int) -> Choices:
    points = mixture.curriculum
    if mixture.weights is None and len(points) > 1:
        if mixture.draw == "exact":
            return Curriculum("monolingual", mixture.others, points)
        return lambda step: CoinFlips({**mixture.shares_at(step)}, hash_ints(seed, "kind"))(step)
    shares = {str(kind): share for kind, share in mixture.shares.items()}
    return Quota(shares) if mixture.draw == "exact" else CoinFlips(shares, hash_ints(seed, "kind"))


def rows_read(pool: Pools, kind: Kind, pairs: int, group_size: int) -> int:
    """How many rows of a pool a part reads: its pairs, or as many records as are enough for aligned pairs."""
    fewest = min(group_size, int(pool.aligned.min())) if kind == "aligned" and len(pool.aligned) else 1
    return -(-pairs // fewest)


def _check_sizes(mixture: MixtureConfig, pools: Mapping[str, Pools], batch_size: int) -> None:
    mixture.check_batch_size(batch_size)
    for kind, pairs in mixture.most_pairs(batch_size).items():
        if not any(pool.size(kind) for pool in pools.values()):
            raise ValueError(
                f"the mixture asks for {kind} batches, but none of the datasets {', '.join(pools)} has rows for them: "
                f"add one that has, name the kind in a dataset's kinds, or change "
                f"mixture.{'weights' if mixture.weights else 'monolingual_fraction'}"
            )
        for name, pool in pools.items():
            if mixture.mix == "pairs" and not pool.size(kind):
                fix = "leave it out, name the kind in its kinds, or use mix batches"
                raise ValueError(f"mixture.mix pairs: dataset {name!r} has no rows for {kind} pairs: {fix}")
            if kind != "monolingual":
                needed = rows_read(pool, kind, pairs, mixture.group_size)
                small = {"": pool.size(kind)} if 0 < pool.size(kind) < needed else {}
            else:
                small = {f" in {lang}": size for lang, size in pool.monolingual.items() if size < pairs}
            if small:
                sizes = ", ".join(f"{size} rows{where}" for where, size in small.items())
                enough = [lang for lang in pool.monolingual if f" in {lang}" not in small]
                fix = f"languages: [{', '.join(enough)}]" if kind == "monolingual" and enough else "other kinds"
                raise ValueError(
                    f"dataset {name!r} has only {sizes} for {kind} batches of {pairs}: "
                    f"lower batch_size, or give the dataset {fix}"
                )
