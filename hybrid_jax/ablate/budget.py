"""Equal budgets: what differs between the arms of a sweep besides what may, as sentences for people and the report.

The arms of a sweep are copies of one config, so what they do not set is equal. What they set is sorted here: a field
that leaves the budget as it is (FREE), or one that makes arms unequal, which is then said.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hybrid_jax.ablate.folder import Cost, Plan, read_cost, runs

FREE = (
    "loss",
    "mixture",
    "model.temperature",
    "model.pooling",
    "model.encoder.dropout",
    "model.encoder.attention_dropout",
)
"""Fields, or parts of the config, that change neither pairs nor text nor the initial weights."""
NO_MATTER = (
    "log_every",
    "wandb_project",
    "mesh",
    "checkpoint",
    "data.cache_dir",
    "heldout_every",
    "heldout_batches",
    "data.heldout_pool",
    "compare_every",
    "microbatch_rows",
)
"""What does not change what is learned (`mesh` and `microbatch_rows`: up to rounding)."""
_MEANS = {
    "steps": "so that they see another number of pairs",
    "batch_size": "so that they see another number of pairs, and a query another number of negatives",
    "vocabulary": "so that they start from other weights",
    "pretrained": "so that they start from other weights",
    "model": "so that they do not start from the same weights",
    "optimizer": "so that they are not optimised alike",
    "distillation": "so that they do not learn from the same teacher",
    "data": "so that they do not read the same text",
    "divergence": "so that they may leave out other batches",
    "seed": "so that they start from other weights and read other rows",
}

Fields = Mapping[str, Any]
"""A resolved config: values by dotted field."""


def pairs(config: Fields) -> int:
    """The pairs that a run of this config trains on."""
    return config["steps"] * config["batch_size"]


def unequal(configs: Mapping[str, Fields]) -> list[str]:
    """Sentences on what is not equal between the arms' configs {arm: fields}; none if the budgets are equal.

    Equal are steps, batch size, pairs, optimizer, initial weights and text, unless a sentence says otherwise.
    """
    sentences: list[str] = []
    names = dict.fromkeys(field for fields in configs.values() for field in fields)
    for field in names:
        if _within(field, FREE) or _within(field, NO_MATTER):
            continue
        values = [json.dumps(fields.get(field), ensure_ascii=False) for fields in configs.values()]
        if len(set(values)) > 1:
            if field == "data.datasets":
                by_arm = {arm: fields.get(field) or [] for arm, fields in configs.items()}
                values = _short(list(by_arm.values()), values)
                sentences += _missing(by_arm)
            means = _MEANS.get(field) or _MEANS.get(field.partition(".")[0]) or "so that more than one thing differs"
            sentences.append(
                f"{field} differs between the arms ({_listed(dict(zip(configs, values, strict=True)))}), {means}."
            )
    counts = {arm: pairs(fields) for arm, fields in configs.items()}
    if len(set(counts.values())) > 1:
        sentences.append(f"The arms train on different numbers of pairs ({_listed(_numbers(counts))}).")
    if len({json.dumps(_part(fields, "mixture"), sort_keys=True) for fields in configs.values()}) > 1:
        sentences.append(
            "The mixtures differ, and with them the order of rows: each kind of batch reads its own rows, in the same "
            "order in every arm of a seed, but not at the same steps."
        )
    return sentences


def found_unequal(sweep: Path, plan: Plan) -> list[str]:
    """Sentences on what the sweep's finished runs were found to have had unequal, from their costs and run.json."""
    finished = [(run, cost) for run in runs(sweep, plan) if (cost := read_cost(run)) is not None]
    costs: dict[str, list[Cost]] = {}
    for run, cost in finished:
        costs.setdefault(run.arm, []).append(cost)
    texts = {run.name: json.loads((run.folder / "run.json").read_text(encoding="utf-8"))["data"] for run, _ in finished}
    return measured(costs, texts)


def measured(costs: Mapping[str, Sequence[Cost]], texts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Sentences on what finished runs {arm: costs} were found to have had unequal: pairs, encoded tokens, or text.

    `texts` are the digests of what each run read, by the run's name.
    """
    sentences: list[str] = []
    counts = {
        "pairs": {arm: [cost.pairs for cost in of] for arm, of in costs.items()},
        "encoded tokens": {arm: [cost.tokens for cost in of] for arm, of in costs.items()},
    }
    for what, by_arm in counts.items():
        means = {arm: round(sum(values) / len(values)) for arm, values in by_arm.items() if values}
        low, high = min(means.values(), default=0), max(means.values(), default=0)
        if high > low:
            apart = f", {high / low - 1:.1%} apart" if low else ""
            sentences.append(f"Mean {what} of the finished runs: {_listed(_numbers(means))}{apart}.")
    by_text = {name: json.dumps(digests, sort_keys=True) for name, digests in texts.items()}
    if len(set(by_text.values())) > 1:
        ordered = list(texts.values())
        sources = dict.fromkeys(source for digests in ordered for source in digests)
        changed = [source for source in sources if any(d.get(source) != ordered[0].get(source) for d in ordered)]
        numbers = {text: f"text {n}" for n, text in enumerate(dict.fromkeys(by_text.values()), 1)}
        groups = _listed({name: numbers[text] for name, text in by_text.items()})
        sentences.append(f"The runs did not read the same text: {', '.join(changed)} differs ({groups}).")
    return sentences


def _short(datasets: Sequence[Any], values: list[str]) -> list[str]:
    """Each arm's datasets as "docs (en, tr), mlqa (de, es)", if that tells all apart that `values` do."""
    short = [
        ", ".join(f"{one['name']} ({', '.join(one['languages'] or ['all languages'])})" for one in of_arm)
        for of_arm in datasets
    ]
    return short if len(set(short)) == len(set(values)) else values


def _missing(datasets: Mapping[str, Sequence[Any]]) -> list[str]:
    """A sentence on whole datasets that only some of the arms {arm: its datasets} read; none if all read all."""
    names = {arm: [one["name"] for one in of_arm] for arm, of_arm in datasets.items()}
    every = dict.fromkeys(name for of_arm in names.values() for name in of_arm)
    missing = {arm: ", ".join(name for name in every if name not in of_arm) for arm, of_arm in names.items()}
    if not any(missing.values()):
        return []
    listed = "; ".join(f"{arm} without {absent}" for arm, absent in missing.items() if absent)
    return [f"Some arms do not read every dataset ({listed}), so their topics differ as well."]


def _within(field: str, parts: tuple[str, ...]) -> bool:
    return any(field == part or field.startswith(f"{part}.") for part in parts)


def _part(fields: Fields, part: str) -> dict[str, Any]:
    return {field: value for field, value in fields.items() if _within(field, (part,))}


def _numbers(counts: Mapping[str, int]) -> dict[str, str]:
    return {arm: f"{count:,}" for arm, count in counts.items()}


def _listed(values: Mapping[str, str]) -> str:
    """The arms of each value: "a, b: 1; c: 2"."""
    arms: dict[str, list[str]] = {}
    for arm, value in values.items():
        arms.setdefault(value, []).append(arm)
    return "; ".join(f"{', '.join(names)}: {value}" for value, names in arms.items())
