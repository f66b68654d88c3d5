"""The means of the steps since the last printed line, by kind of batch: what one step says depends on its kind."""

import resource
import sys
from collections.abc import Mapping

import jax

SHORT = {"monolingual": "mono", "same_language": "same", "cross_lingual": "cross", "aligned": "aligned"}
"""The kinds of batch, in the order of the line, as they are called in it."""

HELDOUT = {
    "heldout_loss": ("loss", ".4f"),
    "heldout_accuracy": ("accuracy", ".3f"),
    "heldout_map_monolingual": ("mAP mono", ".3f"),
    "heldout_map_cross_lingual": ("mAP cross", ".3f"),
    "heldout_map_multilingual": ("mAP multi", ".3f"),
}
"""The held-out metrics, in the order of the line, with what they are called in it and their format."""


class Window:
    """Adds up loss and accuracy of the steps since `clear`, for each kind of batch."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[int, float, float]] = {}

    def add(self, kind: str, loss: float, accuracy: float) -> None:
        """Counts one step."""
        steps, losses, accuracies = self._sums.get(kind, (0, 0.0, 0.0))
        self._sums[kind] = (steps + 1, losses + loss, accuracies + accuracy)

    def clear(self) -> None:
        """Forgets all steps."""
        self._sums = {}

    def text(self) -> str:
        """The means, as in "loss mono 1.2345 · cross 2.3145  accuracy mono 0.512 · cross 0.310"."""
        kinds = sorted(self._sums, key=lambda kind: list(SHORT).index(kind) if kind in SHORT else len(SHORT))
        means = {kind: (losses / n, accuracies / n) for kind, (n, losses, accuracies) in self._sums.items()}
        losses = " · ".join(f"{SHORT.get(kind, kind)} {means[kind][0]:.4f}" for kind in kinds)
        accuracies = " · ".join(f"{SHORT.get(kind, kind)} {means[kind][1]:.3f}" for kind in kinds)
        return f"loss {losses}  accuracy {accuracies}"


def heldout(numbers: Mapping[str, float]) -> str:
    """What was measured on held-out records, as in "held out: loss 1.2345 · mAP mono 0.512"; empty if nothing was."""
    shown = [f"{name} {numbers[key]:{form}}" for key, (name, form) in HELDOUT.items() if key in numbers]
    return f"held out: {' · '.join(shown)}" if shown else ""


def peak_memory() -> str:
    """The most memory that was used so far, as in "peak 1.2 GiB": of the first device, or on a CPU of this process."""
    used = (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    if used is None:
        unit = 1 if sys.platform == "darwin" else 1024
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return f"peak {used / 2**30:.1f} GiB"
