"""The rooms of the house stay apart: what may import what, and how long a file may be. Reads the source only."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "hybrid_jax").rglob("*.py"))
MAX_LINES = 400

BELOW = {
    "disk": set[str](),
    "data": {"disk"},
    "model": set[str](),
    "hub": {"model", "disk"},
    "runtime": set[str](),
    "runs": {"data", "disk"},
    "search": {"runtime"},
    "train": {"data", "model", "hub", "runtime", "runs", "disk"},
    "embed": {"data", "model", "hub", "runtime", "runs", "disk"},
    "debias": {"data", "embed", "disk"},
    "eval": {"data", "model", "hub", "runtime", "runs", "disk", "embed", "search", "debias"},
    "export": {"data", "model", "hub", "runtime", "runs", "disk", "embed", "debias", "eval"},
    "ablate": {"data", "model", "runtime", "train", "embed", "eval"},
}
SEES_THE_WHOLE_CONFIG = {"__main__.py", "loop.py", "run.py"}
JAX = {"jax", "jaxlib", "flax", "optax", "orbax"}
RUNS_CODE_FROM_FILES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN = RUNS_CODE_FROM_FILES | {"torch", "tensorflow"}


def imported(source: str, package: str) -> set[str]:
    """Full names of all that the source of a module in `package` imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def _imported(file: Path) -> set[str]:
    return imported(file.read_text(encoding="utf-8"), ".".join(file.relative_to(ROOT).parent.parts))


def _room(file: Path) -> str:
    """The folder of hybrid_jax that the file lies in; "" for the files at its top, which may see everything."""
    parts = file.relative_to(ROOT / "hybrid_jax").parts
    return parts[0] if len(parts) > 1 else ""


def _id(file: Path) -> str:
    return str(file.relative_to(ROOT))


def test_the_reader_of_imports_sees_all_forms():
    source = "import a.b as c\nfrom d import e\ndef f():\n    from ..g import h\n    from . import i\n"
    assert imported(source, "hybrid_jax.data") == {"a.b", "d.e", "hybrid_jax.g.h", "hybrid_jax.data.i"}


@pytest.mark.parametrize("file", [file for file in FILES if _room(file)], ids=_id)
def test_imports_go_down_only(file: Path):
    allowed = BELOW[_room(file)] | {_room(file)} | ({"config"} if file.name in SEES_THE_WHOLE_CONFIG else set())
    ours = {name for name in _imported(file) if name.split(".")[0] == "hybrid_jax"}
    assert {name for name in ours if name.split(".")[1] not in allowed} == set()


@pytest.mark.parametrize("file", [file for file in FILES if _room(file) == "data"], ids=_id)
def test_data_imports_no_jax(file: Path):
    assert {name for name in _imported(file) if name.split(".")[0] in JAX} == set()


@pytest.mark.parametrize("file", FILES, ids=_id)
def test_nothing_runs_code_from_files_or_needs_another_framework(file: Path):
    assert {name for name in _imported(file) if name.split(".")[0] in FORBIDDEN} == set()


@pytest.mark.parametrize("file", FILES + sorted((ROOT / "tests").rglob("*.py")), ids=_id)
def test_files_stay_short(file: Path):
    lines = len(file.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES, f"{lines} lines: split the file by idea"


def test_there_is_no_drawer_for_everything():
    assert [_id(file) for file in FILES if file.stem in {"utils", "util", "helpers", "common", "misc"}] == []
