"""Test-wide settings: 8 fake CPU devices, a compilation cache, shapes checked at run time, and where real data lies."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(ROOT / ".jax_cache")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from jaxtyping import install_import_hook  # noqa: E402

install_import_hook("hybrid_jax", "beartype.beartype")

import pytest  # noqa: E402


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
        terminalreporter.write_line(f"HYBRID_JAX_REQUIRE_ALL=1 and {skipped} skipped: give them what they lack", red=True)
