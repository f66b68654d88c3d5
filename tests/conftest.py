"""Test-wide settings: 8 fake CPU devices, a compilation cache, shapes checked at run time, and where real data lies."""

import io
import json
import os
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
# A folder for each worker of pytest-xdist: jax writes its entries in place, so another process may see half of one.
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(ROOT / ".jax_cache" / os.environ.get("PYTEST_XDIST_WORKER", ""))
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from jaxtyping import install_import_hook  # noqa: E402

install_import_hook("hybrid_jax", "beartype.beartype")

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

settings.register_profile("busy_machine", deadline=None)
settings.load_profile("busy_machine")


def _real_data() -> Path | None:
    named = os.environ.get("HYBRID_JAX_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    return folder if (folder / "eval").is_dir() else None


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real texts (`eval/`, `train/`), or a skip that says how to get one."""
    folder = _real_data()
    if folder is None:
        pytest.skip("no real data: set HYBRID_JAX_DATA to a folder with eval/ and train/ (see docs/data.md)")
    return folder


class TinyRun(NamedTuple):
    """A finished run: its folder, its Config as YAML, and what it printed."""

    folder: Path
    yaml: str
    printed: str


TINY = """
seed: 3
steps: 80
batch_size: 8
data:
  datasets: [{name: tiny, path: $TINY_ROWS/rows.jsonl}]
  tokenizer: {vocab_size: 300}
  max_query_length: 16
  max_passage_length: 16
  heldout_fraction: 0.25
  heldout_pool: 6
mixture: {monolingual_fraction: [[0, 0.8], [60, 0.2]]}
model: {encoder: {vocab_size: 300, hidden_size: 16, num_layers: 1, num_heads: 2, intermediate_size: 32, max_length: 16,
                  dtype: float32}}
optimizer: {learning_rate: 0.01, warmup_steps: 4}
mesh: {data: 2}
checkpoint: {every: 20, best_metric: heldout_loss}
heldout_every: 10
heldout_batches: 2
log_every: 1
"""
WORDS = {
    "de": "Haus Baum Fluss Stadt Berg Wald",
    "en": "house tree river town hill wood",
    "es": "casa árbol río ciudad monte bosque",
}


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyRun]:
    """80 steps on 36 records in three languages, never interrupted: curriculum, dropout, held-out loss, 2 devices.

    $TINY_ROWS names its data, its cache lies beside. Read it, copy it, but write nothing in it.
    """
    from hybrid_jax.config import dump_config, parse_config
    from hybrid_jax.train.loop import train

    data = tmp_path_factory.mktemp("tiny")
    with (data / "rows.jsonl").open("w", encoding="utf-8") as file:
        for lang, words in WORDS.items():
            for number, pair in enumerate((one, other) for one in words.split() for other in words.split()):
                row = {"query": " ".join(pair) + "?", "passage": f"{pair[1]} {number} {pair[0]}."}
                file.write(json.dumps({"id": str(number), "lang": lang, **row}) + "\n")
    config = parse_config(TINY)
    config = config.model_copy(update={"data": config.data.model_copy(update={"cache_dir": str(data / "cache")})})
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stderr(printed), redirect_stdout(printed):
        patch.setenv("TINY_ROWS", str(data))
        train(config, data / "run")
        yield TinyRun(data / "run", dump_config(config), printed.getvalue())


REQUIRE_ALL = os.environ.get("HYBRID_JAX_REQUIRE_ALL") == "1"


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where everything must run (.ci/run sets HYBRID_JAX_REQUIRE_ALL=1), a skipped test fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if REQUIRE_ALL and session.exitstatus == pytest.ExitCode.OK and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = len(terminalreporter.stats.get("skipped", []))
    if REQUIRE_ALL and skipped:
        terminalreporter.write_line(
            f"HYBRID_JAX_REQUIRE_ALL=1 and {skipped} skipped: give them what they lack", red=True
        )
