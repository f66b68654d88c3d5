"""Compiled functions are kept on disk and read again, where the environment says; an unwritable folder only warns."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.monitoring
import pytest

from hybrid_jax.runtime import compilation

PROGRAM = """
import sys
from pathlib import Path
import jax
from hybrid_jax.runtime.compilation import keep_compiled

events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event))
keep_compiled(Path(sys.argv[1]), lambda line: print("warning:", line))
value = jax.jit(lambda x: x * 3 + 1)(2.0)
print("value", float(value))
print("hits", events.count("/jax/compilation_cache/cache_hits"))
print("misses", events.count("/jax/compilation_cache/cache_misses"))
"""


class Start(NamedTuple):
    """What one process found in the cache, what it added, and its warnings."""

    hits: int
    misses: int
    warnings: list[str]


def start(cache: Path, **environment: str) -> Start:
    """Compiles one small function in a new process, with nothing but `environment` said to jax about a cache."""
    inherited: Mapping[str, str] = {k: v for k, v in os.environ.items() if "CACHE" not in k}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(cache)],
        env={**inherited, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    numbers = dict(line.split() for line in lines if not line.startswith("warning:"))
    assert numbers["value"] == "7.0"
    return Start(int(numbers["hits"]), int(numbers["misses"]), [line for line in lines if line.startswith("warning:")])


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("*-cache"))


def test_a_second_process_compiles_nothing(tmp_path: Path):
    first, second = start(tmp_path), start(tmp_path)
    assert first.misses == second.hits > 0
    assert first.hits == second.misses == 0
    assert len(entries(tmp_path / "compiled")) == first.misses
    assert first.warnings == second.warnings == []


def test_an_entry_that_a_kill_cut_short_is_compiled_again(tmp_path: Path):
    first = start(tmp_path)
    cut = entries(tmp_path / "compiled")[0]
    content = cut.read_bytes()
    cut.write_bytes(content[:20])
    cut.with_name(cut.name.removesuffix("-cache") + "-atime").unlink()
    second = start(tmp_path)
    assert (second.hits, second.misses) == (first.misses - 1, 1)
    assert len(cut.read_bytes()) > 20


def test_the_environment_wins(tmp_path: Path):
    named = start(tmp_path / "ours", JAX_COMPILATION_CACHE_DIR=str(tmp_path / "named"))
    assert len(entries(tmp_path / "named")) == named.misses > 0
    off = start(tmp_path / "ours", JAX_ENABLE_COMPILATION_CACHE="false")
    assert off == Start(0, 0, [])
    assert not (tmp_path / "ours").exists()


def test_a_folder_that_cannot_be_written_is_one_warning(tmp_path: Path):
    (tmp_path / "compiled").write_text("a file in its place")
    assert start(tmp_path) == Start(
        0, 0, [f"warning: {tmp_path}/compiled cannot be written (File exists): every start compiles again"]
    )


def test_what_a_long_compilation_freed_is_given_back(monkeypatch: pytest.MonkeyPatch):
    given_back: list[None] = []
    monkeypatch.setattr(compilation, "give_back", lambda: given_back.append(None))
    with pytest.MonkeyPatch.context() as patch:
        listeners = []
        patch.setattr(jax.monitoring, "register_event_duration_secs_listener", listeners.append)
        compilation.give_back_after_compiling()
    (heard,) = listeners
    jax.monitoring.register_event_duration_secs_listener(heard)
    try:
        monkeypatch.setattr(compilation, "_LONG", 1e9)
        jax.jit(lambda x: x * 5 + 3)(2.0)
        assert not given_back
        monkeypatch.setattr(compilation, "_LONG", 0.0)
        jax.jit(lambda x: x * 7 + 3)(2.0)
        assert given_back
    finally:
        jax.monitoring.unregister_event_duration_listener(heard)
