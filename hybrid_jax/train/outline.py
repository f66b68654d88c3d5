"""What a run is about to do, in some ten lines: said before its first step, and by `train plan`."""

from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import Mesh

from hybrid_jax.config import Config
from hybrid_jax.data.describe import drawn, heldout_drawn, listed
from hybrid_jax.data.layout import Layout
from hybrid_jax.data.pairing import Pairs
from hybrid_jax.data.pipeline import Pipeline
from hybrid_jax.disk.tables import aligned
from hybrid_jax.model.precision import compute_dtype
from hybrid_jax.runtime.memory import bytes_on_each, device_memory, size
from hybrid_jax.train.loss import LossConfig, own_groups
from hybrid_jax.train.state import TrainState

_SAMPLED = 64
"""Batches from which negatives are counted, equally far apart over the run."""
_DATASETS = 6


def outline(
    config: Config,
    pipeline: Pipeline,
    layouts: Sequence[Layout],
    mesh: Mesh,
    state: TrainState,
    start: int = 0,
    memory: int | None = None,
    objective: str | None = None,
) -> list[str]:
    """The plan of a run that goes on at step `start`: its data, batches, model, programs and memory, a line each.

    `state` may hold `jax.ShapeDtypeStruct`s with shardings. `memory` is what a device has, in bytes; by default it is
    asked. `objective` names a function that replaces the config's loss.
    """
    memory = device_memory(mesh) if memory is None else memory
    devices = f"{mesh.size} x {mesh.devices.flat[0].platform}"
    steps = f"steps {start + 1:,} to {config.steps:,}" if start else f"{config.steps:,} steps"
    rows = pipeline.rows
    languages = {language for store in pipeline.stores.values() for language in store.languages}
    epochs = config.steps * config.batch_size / sum(rows.values())
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.parameters))
    encoder, towers = config.model.encoder, "" if config.model.tied else "two towers of "
    weights = "" if config.pretrained is None else f", from {config.pretrained}"
    in_memory = (
        f"{size(bytes_on_each(state.parameters))} of parameters and {size(bytes_on_each(state.optimizer))} of moments"
    )
    table = [
        ["data", f"{sum(rows.values()):,} rows in {len(languages)} languages: {listed(rows, _DATASETS)}"],
        *([kind, text] for kind, text in drawn(pipeline.sizes, config.mixture)),
        *_held_out(config, pipeline),
        ["batch", _batch(config, pipeline, mesh.size, objective)],
        [
            "model",
            f"{parameters:,} parameters{weights}: {towers}{encoder.architecture}, {encoder.num_layers} "
            f"{'layer' if encoder.num_layers == 1 else 'layers'} of {encoder.hidden_size}, {config.model.pooling} "
            f"pooling, vectors of {config.model.dim}, products in {compute_dtype(encoder.dtype).name}",
        ],
        *(["programs", str(layout)] for layout in layouts),
        ["memory", f"{in_memory} on each device{'' if memory is None else f', which has {size(memory)}'}"],
    ]
    head = f"plan: {steps} of {config.batch_size:,} pairs on {devices}, {epochs:.3g} epochs in all"
    return [head, *(f"  {line}" for line in aligned(table, left=(0, 1)))]


def compared(pairs: Pairs, config: LossConfig, devices: int) -> tuple[float, float, float]:
    """(negatives, masked, positives) of a batch: how many passages a query is compared with, leaves out as
    translations or copies of its positive, and takes for positives; means over its queries, as `contrastive_loss`."""
    shards = devices if config.negatives == "local" else 1
    sums = np.zeros(3)
    query_groups, passage_groups = pairs.groups, pairs.passage_groups
    if config.false_negatives == "kept":
        query_groups, passage_groups = own_groups(query_groups, passage_groups)
    for groups, passages in zip(np.split(query_groups, shards), np.split(passage_groups, shards), strict=True):
        numbers, inverse = np.unique(np.concatenate([groups, passages[:, 1:].ravel()]), return_inverse=True)
        own, hard = inverse[: len(groups)], inverse[len(groups) :]
        positives = np.bincount(own, minlength=len(numbers))[own].sum()  # its own and those of its group
        masked = np.bincount(hard, minlength=len(numbers))[own].sum()
        negatives = len(groups) * passages.size - positives - masked
        if config.positives == "one":
            positives, masked = len(groups), masked + positives - len(groups)
        sums += negatives, masked, positives
    negatives, masked, positives = (sums / len(pairs.groups)).tolist()
    return negatives, masked, positives


def _held_out(config: Config, pipeline: Pipeline) -> list[list[str]]:
    if not config.heldout_every or pipeline.heldout_schedule is None:
        return []
    batches = heldout_drawn(pipeline.heldout_schedule, pipeline.heldout_sizes, config.heldout_batches)
    return [["held out", f"every {config.heldout_every:,} steps: {batches}"]]


def _batch(config: Config, pipeline: Pipeline, devices: int, objective: str | None) -> str:
    sampled = np.linspace(0, config.steps - 1, min(config.steps, _SAMPLED)).astype(int).tolist()
    counts = [compared(pipeline.batch(step).pairs, config.loss, devices) for step in sampled]
    negatives, masked, positives = np.mean(counts, axis=0).tolist()
    every = f"from {devices} {'device' if devices == 1 else 'devices'}"
    where = every if config.loss.negatives == "global" else f"of its own device, one of {devices}"
    text = f"each query sees {negatives + masked:.0f} negatives ({masked:.1f} masked on average) {where}"
    if config.distillation.store is not None and config.distillation.weight == 1:
        text = f"only the teacher's vectors are trained on; for the accuracy that is logged {text}"
    if config.loss.positives == "all":
        text += f", and {positives:.1f} positives on average"
    if config.optimizer.accumulate > 1:
        text += f"; gradients are averaged over {config.optimizer.accumulate} batches, which adds no negatives"
    return text if objective is None else f"{text}; objective {objective}"
