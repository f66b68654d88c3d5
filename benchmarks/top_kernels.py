"""Which kernels of a GPU take a program's time, from a trace of jax's profiler."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import jax
from jax.profiler import ProfileData


def trace(run: Callable[[], object], most: int = 12) -> list[tuple[str, float]]:
    """The kernels that take most of the time of `run` on the first GPU, with their shares of all kernels' time."""
    with TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            jax.block_until_ready(run())
        (file,) = Path(folder).rglob("*.xplane.pb")
        return top(ProfileData.from_file(str(file)), most)


def top(profile: ProfileData, most: int) -> list[tuple[str, float]]:
    """(kernel, share of all kernels' time) of the first GPU's streams, the longest first."""
    plane = profile.find_plane_with_name("/device:GPU:0")
    if plane is None:
        raise ValueError("the trace has no /device:GPU:0")
    seconds: Counter[str] = Counter()
    for line in plane.lines:
        if line.name.startswith("Stream"):
            for event in line.events:
                seconds[event.name] += event.duration_ns
    return [(name, spent / seconds.total()) for name, spent in seconds.most_common(most)]
