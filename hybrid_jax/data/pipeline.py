"""The pipeline: opens a run's datasets once, and gives the batch of any step.

rows of text ──store──▶ ──tokens──▶ arrays on disk        plan ──pair──▶ texts ──pack──▶ rows of tokens
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hybrid_jax.data import prepare
from hybrid_jax.data.batch import Batch
from hybrid_jax.data.dataset import DatasetConfig
from hybrid_jax.data.hashing import hash_ints
from hybrid_jax.data.heldout_pool import HeldoutPool, choose_pool
from hybrid_jax.data.layout import Layout, choose
from hybrid_jax.data.links import summary
from hybrid_jax.data.pairing import pair
from hybrid_jax.data.prepare import Report
from hybrid_jax.data.records import DataError
from hybrid_jax.data.schedule import KINDS, BatchPlan, Kind, MixtureConfig, Schedule, rows_read
from hybrid_jax.data.shares import size_shares
from hybrid_jax.data.store import Store, pool_sizes
from hybrid_jax.data.tokenizer import TokenizerConfig
from hybrid_jax.data.tokens import TokenTable
from hybrid_jax.disk.manifest import content_digest

KindPools = dict[Kind, dict[str | None, np.ndarray]]
"""The pools of a dataset's rows, by kind and language."""
SAMPLED_TEXTS = 16_384
"""The shapes of rows are chosen from batches with about so many queries in all."""
_UNMEASURED_SHOWN = 8


class DataConfig(BaseModel):
    """What a run reads, and how texts are turned into token ids."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    datasets: tuple[DatasetConfig, ...] = ()
    """The datasets of the run; each batch comes from one of them."""
    tokenizer: TokenizerConfig = TokenizerConfig()
    """Which tokenizer to use or train."""
    query_prompt: str = "Query: "
    """Text put before every query, as in E5 (arXiv 2212.03533) and the hybrid paper."""
    passage_prompt: str = "Passage: "
    """Text put before every passage."""
    max_query_length: int = Field(default=64, ge=4)
    """Tokens of a query, with its prompt and special tokens; longer queries are cut and counted."""
    max_passage_length: int = Field(default=256, ge=4)
    """Tokens of a passage, likewise."""
    hard_negatives: int = Field(default=0, ge=0)
    """Hard negatives per query, if the data has them; rows with fewer are filled up, and the loss masks the filling."""
    heldout_fraction: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of each dataset's records that are kept for the held-out loss and not trained on; whole groups of
    translations. Text that datasets share may be held out of one and trained on in another, and a passage may still
    be a hard negative. A kind, dataset or language that holds out less than a batch is not measured; the start of a run
    names it."""
    heldout_pool: int = Field(default=0, ge=0)
    """Held-out records whose queries and passages, in all languages, form the pool in which heldout_map_* is measured
    at each held-out measurement; 0 = none. All are encoded each time: a few hundred are enough to follow a run. A
    record of a bitext gives a query in one language and passages in the others."""
    cache_dir: str = "~/.cache/hybrid_jax"
    """The folder of prepared datasets, trained tokenizers and token ids."""

    def paths(self) -> dict[str, str | None]:
        """The places on disk that it names, by dotted field."""
        paths = {"data.cache_dir": self.cache_dir, "data.tokenizer.path": self.tokenizer.path}
        for number, dataset in enumerate(self.datasets):
            paths |= {f"data.datasets.{number}.path": path for path in dataset.parts if "://" in path}
            paths[f"data.datasets.{number}.tfds_dir"] = dataset.tfds_dir
        return paths

    @model_validator(mode="after")
    def _check(self) -> "DataConfig":
        names = [dataset.name for dataset in self.datasets]
        repeated = {name for name in names if names.count(name) > 1}
        if repeated:
            raise ValueError(f"dataset names must differ, but {sorted(repeated)} occur more than once")
        return self


@dataclass(frozen=True)
class _Dataset:
    store: Store
    queries: TokenTable
    passages: TokenTable
    language_weights: dict[str, float]


class Pipeline:
    """`pipeline.batch(step)` is the batch of a step, a pure function of (config, mixture, batch_size, seed, step).

    Attributes: `tokenizer`, `schedule`, `heldout_schedule` (None if no records are held out), `stores` by dataset name,
    `sizes` (`Pools` to train on, by dataset name), and `notes`, what a user should know about the data, such as texts
    that were cut.

    Raises DataError for data that cannot be used, and ValueError for a mixture that the data cannot give. With
    `skip_bad_rows`, bad rows are left out and counted in `notes`.
    """

    def __init__(
        self,
        config: DataConfig,
        mixture: MixtureConfig,
        batch_size: int,
        seed: int,
        skip_bad_rows: bool = False,
        report: Report = lambda line: None,
    ):
        if not config.datasets:
            raise DataError("data.datasets is empty: name at least one dataset in the config")
        self.config = config
        self.notes: list[str] = []
        cache = Path(config.cache_dir).expanduser()
        self.stores: dict[str, Store] = {}
        for dataset in config.datasets:
            store = prepare.open_store(dataset, cache, skip_bad_rows, report)
            uses = store.describe_uses([kind for kind in store.kinds if kind in mixture.shares])
            notes = [*summary(store.meta["linked"]), *store.meta["notes"], *uses]
            if "aligned" in mixture.shares and "aligned" in store.kinds:
                notes.append(store.describe_aligned())
            self.notes += [f"{dataset.name}: {note}" for note in notes]
            self.stores[dataset.name] = store
        most_negatives = max(int(store.entries["negatives"].max()) for store in self.stores.values())
        if config.hard_negatives > most_negatives:
            raise DataError(
                f"data.hard_negatives {config.hard_negatives}: no row has more than {most_negatives}, lower it"
            )
        self.tokenizer = prepare.open_tokenizer(config.tokenizer, list(self.stores.values()), cache, report)
        exponent = mixture.exponent(mixture.language_sampling)
        self._datasets = {name: self._open_dataset(store, exponent, report) for name, store in self.stores.items()}

        heldout = {name: store.held_out(config.heldout_fraction) for name, store in self.stores.items()}
        self.rows = {name: int((~heldout[name])[s.entries["record"]].sum()) for name, s in self.stores.items()}
        self._pools = {name: _pools(store, ~heldout[name]) for name, store in self.stores.items()}
        self.sizes = {name: pool_sizes(self.stores[name], pools) for name, pools in self._pools.items()}
        self.schedule = Schedule(mixture, self.sizes, batch_size, seed)

        self.heldout_schedule, self.heldout_sizes = None, {}
        if config.heldout_fraction:
            self._heldout_pools, unmeasured = self._whole_batches(heldout, mixture, batch_size)
            sizes = {name: pool_sizes(self.stores[name], pools) for name, pools in self._heldout_pools.items()}
            self.heldout_sizes = sizes
            weights = {
                k: max(round(float(s), 2), 0.01)
                for k, s in mixture.shares.items()
                if any(p.size(k) for p in sizes.values())
            }
            if not weights:
                raise DataError(
                    f"data.heldout_fraction {config.heldout_fraction} holds out less than one batch of {batch_size} "
                    f"rows: raise it, or set it to 0"
                )
            if unmeasured:
                more = f" and {len(unmeasured) - _UNMEASURED_SHOWN} more" if len(unmeasured) > _UNMEASURED_SHOWN else ""
                self.notes.append(
                    f"the held-out loss does not measure what holds out less than a batch: "
                    f"{', '.join(unmeasured[:_UNMEASURED_SHOWN])}{more}: raise data.heldout_fraction "
                    f"{config.heldout_fraction}, or lower batch_size"
                )
            heldout_mixture = mixture.model_copy(
                update={"monolingual_fraction": 0.5, "weights": weights, "draw": "exact", "mix": "batches"}
            )
            self.heldout_schedule = Schedule(heldout_mixture, sizes, batch_size, hash_ints(seed, "heldout"))

    def batch(self, step: int) -> Batch:
        """The training batch of `step`."""
        plan = self.schedule(step)
        return self._assemble(plan, self._pools[plan.dataset])

    def heldout_batch(self, step: int) -> Batch:
        """The `step`-th batch of held-out records. Raises ValueError if none are held out."""
        if self.heldout_schedule is None:
            raise ValueError("no records are held out: set data.heldout_fraction")
        plan = self.heldout_schedule(step)
        return self._assemble(plan, self._heldout_pools[plan.dataset])

    def heldout_pool(self) -> HeldoutPool | None:
        """The pool of data.heldout_pool records; None if that is 0. Raises DataError as `choose_pool` does."""
        if not self.config.heldout_pool:
            return None
        heldout = {name: store.held_out(self.config.heldout_fraction) for name, store in self.stores.items()}
        tables = {name: (dataset.queries, dataset.passages) for name, dataset in self._datasets.items()}
        return choose_pool(self.stores, heldout, tables, self.config.heldout_pool, self.tokenizer.pad_id)

    @property
    def digests(self) -> dict[str, str]:
        """Hashes of the prepared arrays by name, to compare processes: rows, and tokens of queries and passages."""
        rows = {f"{n}'s prepared rows": content_digest(store.folder, {"meta.json"}) for n, store in self.stores.items()}
        queries = {f"{name}'s query tokens": dataset.queries.digest for name, dataset in self._datasets.items()}
        passages = {f"{name}'s passage tokens": dataset.passages.digest for name, dataset in self._datasets.items()}
        return {**rows, **queries, **passages}

    def layouts(
        self,
        steps: int,
        apart: bool,
        multiple: int = 64,
        devices: int = 1,
        microbatch_rows: int | None = None,
    ) -> list[Layout]:
        """The shapes of rows for a run of `steps`, chosen from batches of it: one layout, or two where queries and
        passages are packed `apart`. See `layout.choose` for the others.

        With two, all batches have the same number of rows of queries, so that there are still at most three programs.
        """
        sampled = min(steps, max(SAMPLED_TEXTS // self.schedule.batch_size, 8))
        batches = [self.batch(step) for step in np.linspace(0, steps - 1, sampled).astype(int).tolist()]
        longest = [max(getattr(d, side).longest for d in self._datasets.values()) for side in ("queries", "passages")]
        return [
            choose(
                [batch.lengths[batch.sides(apart)[side]] for batch in batches],
                longest[side] if apart else max(longest),
                multiple,
                devices,
                microbatch_rows,
                programs=1 if apart and side == 0 else 3,
            )
            for side in range(1 + apart)
        ]

    def _whole_batches(
        self, heldout: Mapping[str, np.ndarray], mixture: MixtureConfig, batch_size: int
    ) -> tuple[dict[str, KindPools], list[str]]:
        """By dataset, the pools of the `heldout` records (bool[records] each) that have a batch; and each of the others
        that the run trains on, with what it has of what a batch needs."""
        enough: dict[str, KindPools] = {}
        others: list[str] = []
        for name, store in self.stores.items():
            pools = _pools(store, heldout[name])
            sizes = pool_sizes(store, pools)
            needed = {kind: rows_read(sizes, kind, batch_size, mixture.group_size) for kind in KINDS}
            enough[name] = {
                kind: {lang: rows for lang, rows in by_language.items() if len(rows) >= needed[kind]}
                for kind, by_language in pools.items()
            }
            others += [
                f"{name} {kind}{f' in {lang}' if lang else ''} ({len(pools[kind].get(lang, ()))} of {needed[kind]} "
                f"{'rows' if kind == 'monolingual' else 'records'})"
                for kind in mixture.shares
                for lang in self._pools[name][kind]
                if lang not in enough[name][kind]
            ]
        return enough, others

    def _open_dataset(self, store: Store, exponent: float, report: Report) -> "_Dataset":
        config = self.config
        queries = prepare.open_tokens(
            store, "query", self.tokenizer, config.query_prompt, config.max_query_length, report
        )
        passages = prepare.open_tokens(
            store, "passage", self.tokenizer, config.passage_prompt, config.max_passage_length, report
        )
        for side, table in (("queries", queries), ("passages", passages)):
            if table.truncated:
                share = f"{table.truncated:,} of {table.texts:,} {side} ({table.truncated / table.texts:.1%})"
                self.notes.append(f"{store.meta['name']}: {share} cut at the length limit")
        counts = np.bincount(store.entries["lang"], minlength=len(store.languages)).tolist()
        weights = size_shares(dict(zip(store.languages, counts, strict=True)), exponent)
        return _Dataset(store, queries, passages, {lang: float(weight) for lang, weight in weights.items()})

    def _assemble(self, plan: BatchPlan, pools: KindPools) -> Batch:
        dataset = self._datasets[plan.dataset]
        pairs = pair(dataset.store, pools, plan, dataset.language_weights, self.config.hard_negatives)
        languages = np.array(dataset.store.languages)
        return Batch(
            plan,
            [dataset.store.ids[record] for record in pairs.records],
            languages[pairs.query_langs].tolist(),
            languages[pairs.passage_langs].tolist(),
            (dataset.queries, dataset.passages),
            pairs,
            self.tokenizer.pad_id,
        )


def _pools(store: Store, records: np.ndarray) -> KindPools:
    """The pools of each kind, among `records`, that are not empty."""
    return {kind: {lang: rows for lang, rows in store.pools(kind, records).items() if len(rows)} for kind in KINDS}
