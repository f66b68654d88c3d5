"""What a model card says of a run's training: its data, which batches it saw, and its loss."""

from collections.abc import Container, Iterable, Mapping
from typing import Any, NamedTuple

from hybrid_jax.data.schedule import KINDS, Kind, MixtureConfig
from hybrid_jax.embed.origin import Origin
from hybrid_jax.eval.languages import identity
from hybrid_jax.runs.trained_on import TrainedOn

_LABELS: Mapping[Kind, str] = {
    "monolingual": "monolingual",
    "same_language": "same-language",
    "cross_lingual": "cross-lingual",
    "aligned": "aligned",
}


class Training(NamedTuple):
    """The training of one run."""

    config: Mapping[str, Any]
    """Its resolved config, as plain JSON values."""
    data: Mapping[str, Any]
    """The sources of each dataset, and the names of what the config cannot hold (`Origin.training_data`)."""
    seen: TrainedOn | None
    """None for a run without a log."""

    @property
    def objective(self) -> str | None:
        """The name of the function that replaced the config's loss (`train/hooks.py`); None if none did."""
        return self.data.get("the objective")

    @property
    def _kinds(self) -> list[Kind]:
        """The kinds of batches that the log has, or those of the config's mixture where there is none."""
        shares = MixtureConfig.model_validate(self.config["mixture"]).shares
        logged: Container[str] = () if self.seen is None else +self.seen.batches
        return [kind for kind in KINDS if kind in (logged or shares)]

    @property
    def batches(self) -> str:
        """What it was trained on, in words: "monolingual and cross-lingual batches"."""
        *first, last = [_LABELS[kind] for kind in self._kinds]
        kinds = f"{', '.join(first)} and {last}" if first else last
        mixed = first and self.config["mixture"]["mix"] == "pairs"
        return f"batches of {kinds} pairs" if mixed else f"{kinds} batches"

    @property
    def is_hybrid(self) -> bool:
        """Whether it is the paper's method: monolingual and cross-lingual batches, and no others."""
        return set(self._kinds) == {"monolingual", "cross_lingual"}

    @property
    def is_multilingual(self) -> bool:
        """Whether its texts are known to be in several languages."""
        if self.seen is not None and self.seen.languages:
            return len(set(map(identity, self.seen.languages))) > 1
        return "cross_lingual" in self._kinds

    def sources(self) -> Iterable[list[str]]:
        """Rows of dataset, path, what was read there, its sha256, licence."""
        for dataset in self.config["data"]["datasets"]:
            licence = dataset.get("licence") or "not stated"
            for source in self.data[dataset["name"]]["sources"]:
                label = ", ".join(str(source[key]) for key in ("file", "tfds", "demo", "split") if key in source)
                digests = source["sha256"]
                digests = digests.values() if isinstance(digests, Mapping) else digests
                shown = digests if isinstance(digests, str) else ", ".join(map(str, digests))
                yield [dataset["name"], dataset["path"], label, shown, licence]

    def mixture(self) -> str:
        """The config's mixture of kinds of batches, in words."""
        mixture = self.config["mixture"]
        mixed = ", in every batch" if mixture["mix"] == "pairs" else ""
        if mixture["weights"] is not None:
            return "weights " + ", ".join(f"{kind} {weight:g}" for kind, weight in mixture["weights"].items()) + mixed
        alpha = mixture["monolingual_fraction"]
        rest = "pairs" if mixed else "batches"
        others = (f", the other {rest} {mixture['others']}" if mixture["others"] != "cross_lingual" else "") + mixed
        if isinstance(alpha, int | float):
            return f"monolingual_fraction (α of arXiv 2408.10536) {alpha:g}{others}"
        points = ", ".join(f"{share:g} at step {step}" for step, share in alpha)
        return f"monolingual_fraction (α of arXiv 2408.10536) {points}, linear between{others}"


def training_of(origin: Origin, seen: TrainedOn | None) -> Training | None:
    """The training of a run; None for a model that we did not train."""
    return None if origin.config is None else Training(origin.config, origin.training_data or {}, seen)


def kinds(seen: TrainedOn) -> Iterable[list[str]]:
    """Rows of kind of batch, batches, share of all batches, pairs."""
    for kind in KINDS:
        if batches := seen.batches[kind]:
            yield [kind, f"{batches:,}", f"{batches / seen.logged:.4f}", f"{seen.pairs[kind]:,}"]


def languages(seen: TrainedOn) -> Iterable[list[str]]:
    """Rows of language, pairs in monolingual batches, in same-language ones, queries and passages in cross-lingual
    ones, and pairs in aligned batches if there are any."""
    for language in seen.languages:
        same = [seen.queries[kind, language] for kind in ("monolingual", "same_language")]
        across = [side["cross_lingual", language] for side in (seen.queries, seen.passages)]
        aligned = [seen.queries["aligned", language]] if seen.batches["aligned"] else []
        yield [language, *(f"{count:,}" for count in (*same, *across, *aligned))]


def matrix(seen: TrainedOn) -> tuple[list[str], list[list[str]]]:
    """A header, and rows of pairs by language of the query (rows) and of the passage (columns)."""
    queries, passages = (sorted({pair[side] for pair in seen.language_pairs}) for side in (0, 1))
    rows = [[query, *(f"{seen.language_pairs[query, other]:,}" for other in passages)] for query in queries]
    return ["", *passages], rows
