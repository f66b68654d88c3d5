"""What a run reads, as digests: a run that is resumed must read the same."""

from pathlib import Path
from typing import Any

from hybrid_jax.data.pipeline import Pipeline
from hybrid_jax.hub.weights import Pretrained, weights_digest
from hybrid_jax.runs.checkpoint import steps
from hybrid_jax.runs.skips import Skips
from hybrid_jax.runs.workdir import SKIPPED, is_there
from hybrid_jax.train.teacher import Teacher


def sources_of(pipeline: Pipeline, pretrained: Pretrained | None, teacher: Teacher | None) -> dict[str, Any]:
    """Digests of all that the run reads, by name: each dataset, the tokenizer, pretrained weights, a teacher."""
    sources = {name: store.meta["source"] for name, store in pipeline.stores.items()}
    sources["the tokenizer"] = pipeline.tokenizer.digest
    if pretrained is not None:
        sources["the pretrained weights"] = weights_digest(pretrained)
    if teacher is not None:
        sources["the teacher's vectors"] = teacher.digest
    return sources


def seen(workdir: Path, checkpoints: Path, skips: Skips) -> dict[str, Any]:
    """What this process finds in the run's folder, by name: all have to find the same, or they would start apart."""
    there = "there" if is_there(workdir) else "missing"
    return {"its run.json": there, "its checkpoints": steps(checkpoints), f"its {SKIPPED}": skips.model_dump()}
