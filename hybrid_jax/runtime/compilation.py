"""Compiled functions kept on disk, so that a second start of the same model does not compile them again.

jax does the work: it names an entry by a hash of the program, the versions of jax and XLA, the flags and the devices.
For a CPU that includes its instruction set, so that a folder can be shared between machines of different types.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import jax
import jax.monitoring

from hybrid_jax.runtime.allocator import give_back

MAX_BYTES = 2**30
"""The size of a folder, above which jax deletes the entries that were not used for the longest time."""
_DEFAULT = Path("~/.cache/hybrid_jax")
_SETTINGS = {"jax_compilation_cache_max_size": MAX_BYTES, "jax_persistent_cache_min_compile_time_secs": 0.1}

_COMPILED = "/jax/core/compile/backend_compile_duration"
_LONG = 0.1


def give_back_after_compiling() -> None:
    """Gives back what the compiler has freed, after each program of this process that took it .1 s or more.

    The compiler's blocks lie between others that stay, so the heap does not shrink by itself: a step of 4 layers of 256
    leaves 230 MiB that no later step uses.
    """

    def heard(event: str, duration_secs: float, **_: object) -> None:
        if event == _COMPILED and duration_secs >= _LONG:
            give_back()

    jax.monitoring.register_event_duration_secs_listener(heard)


def keep_compiled(cache: Path | None, warn: Callable[[str], None]) -> None:
    """Makes jax keep everything that this process compiles in `cache`/compiled, and read it from there.

    Without a `cache`, the folder is ~/.cache/hybrid_jax/compiled. It holds at most 1 GiB.

    Does nothing if jax has a folder already: that of the environment variable JAX_COMPILATION_CACHE_DIR, or of an
    earlier call. JAX_ENABLE_COMPILATION_CACHE=false switches all of this off. Calls `warn` with one line, and keeps
    nothing, if the folder cannot be written.
    """
    options = jax.config.values
    if options["jax_compilation_cache_dir"] is not None or not options["jax_enable_compilation_cache"]:
        return
    folder = (_DEFAULT if cache is None else cache).expanduser() / "compiled"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        _remove_unfinished(folder)
    except OSError as error:
        warn(f"{folder} cannot be written ({error.strerror}): every start compiles again")
        return
    for name, value in _SETTINGS.items():
        if name.upper() not in os.environ:
            jax.config.update(name, value)
    jax.config.update("jax_compilation_cache_dir", str(folder))


def _remove_unfinished(folder: Path) -> None:
    """Removes entries that a killed process left without the time of their last use, which jax writes after them.

    jax itself would never replace such an entry, and could not delete any other while it is there.
    """
    for entry in folder.glob("*-cache"):
        if not entry.with_name(entry.name.removesuffix("-cache") + "-atime").exists():
            entry.unlink(missing_ok=True)
