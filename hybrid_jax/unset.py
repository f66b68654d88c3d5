"""Fields of a config that nobody set give way to those that somebody did.

`steps: 20` says nothing of the warm-up, whose default is 100 steps: the run then warms up for 2. Two fields that are
both set and contradict each other are an error (`config.check`).
"""

import math
from collections.abc import Collection, Mapping
from typing import Any

Values = Mapping[str, Any]
"""The values of a whole config by dotted field."""

LENGTHS = ("data.max_query_length", "data.max_passage_length")
LIMIT = "model.encoder.max_length"


def adjusted(values: Values, stated: Collection[str]) -> dict[str, Any]:
    """New values for fields that are not `stated` and contradict stated ones, by dotted field."""
    changes: dict[str, Any] = {}
    for rule in (_steps, _warmup, _lengths, _vocabulary, _heldout, _batch_size):
        changes |= {
            name: value
            for name, value in rule({**values, **changes}, stated).items()
            if name not in stated and value != values[name]
        }
    return changes


def _steps(values: Values, stated: Collection[str]) -> dict[str, Any]:
    """A whole number of updates."""
    steps, accumulate = values["steps"], values["optimizer.accumulate"]
    return {"steps": max(steps // accumulate, 1) * accumulate}


def _warmup(values: Values, stated: Collection[str]) -> dict[str, Any]:
    """A tenth of a run that is shorter than the default."""
    steps = values["steps"]
    return {"optimizer.warmup_steps": steps // 10} if values["optimizer.warmup_steps"] > steps else {}


def _lengths(values: Values, stated: Collection[str]) -> dict[str, Any]:
    """An encoder as long as the texts, or texts as short as the encoder: whichever of them is stated leads."""
    longest = max([values[LIMIT], *(values[name] for name in LENGTHS if name in stated)])
    limit = values[LIMIT] if LIMIT in stated else longest
    return {LIMIT: limit} | {name: min(values[name], limit) for name in LENGTHS if limit >= 4}


def _vocabulary(values: Values, stated: Collection[str]) -> dict[str, Any]:
    """An encoder that has every token of a tokenizer that the run trains, and no other rows if it replaces one."""
    trained, table = "data.tokenizer.vocab_size", "model.encoder.vocab_size"
    if values["vocabulary"] == "new" and table not in stated:
        return {table: values[trained]}
    if values["data.tokenizer.path"] is not None or values[trained] <= values[table]:
        return {}
    return {table: values[trained]} if trained in stated else {trained: max(values[table], 300)}


def _heldout(values: Values, stated: Collection[str]) -> dict[str, Any]:
    """A measurement at each checkpoint whose best is chosen by it, or where there is a pool for one; with patience, a
    checkpoint at each measurement."""
    every, measured = values["checkpoint.every"], values["heldout_every"]
    decides = values["checkpoint.best_metric"].startswith("heldout_")
    if measured == 0 and (decides or (values["data.heldout_pool"] and values["data.heldout_fraction"])):
        return {"heldout_every": every}
    if not decides:
        return {}
    if values["checkpoint.patience"]:
        return {"heldout_every": every} if "checkpoint.every" in stated else {"checkpoint.every": measured}
    return {"checkpoint.every": math.ceil(every / measured) * measured}


def _batch_size(values: Values, stated: Collection[str]) -> dict[str, Any]:
    """A batch that the devices, and the groups of aligned batches, divide."""
    devices = max(values["mesh.data"], 1) * values["mesh.fsdp"]
    weights = any(name.startswith("mixture.weights.") for name in values)
    aligned = values.get("mixture.weights.aligned") if weights else values["mixture.others"] == "aligned"
    parts = math.lcm(devices, values["mixture.group_size"] if aligned else 1)
    return {"batch_size": math.ceil(values["batch_size"] / parts) * parts}
