"""The rules that keep the package easy to live in, checked on its source: who may import what, how long a file may be.

Each rule is a function from sources to violations. It must find none in the package, and the one that is planted.
"""

import ast
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
Sources = Mapping[str, str]
"""Paths below hybrid_jax/ -> source texts."""

BELOW: Mapping[str, set[str]] = {
    "disk": set(),
    "runtime": set(),
    "model": set(),
    "data": {"disk"},
    "hub": {"model", "disk"},
    "runs": {"data", "disk"},
    "search": {"runtime"},
    "train": {"data", "model", "hub", "runtime", "runs", "disk"},
    "embed": {"data", "model", "hub", "runtime", "runs", "disk"},
    "debias": {"data", "embed", "disk"},
    "eval": {"data", "model", "hub", "runtime", "runs", "disk", "embed", "search", "debias"},
    "export": {"data", "model", "hub", "runtime", "runs", "disk", "embed", "debias"},
    "ablate": {"runtime", "runs", "eval", "disk"},
}
"""What each room may import, besides itself."""
ALSO = {
    "export": {
        *("eval.report.schema", "eval.report.scores", "eval.report.rows", "eval.measures.catalogue"),
        "eval.languages",
    },
    "train/teacher.py": {"embed.store"},
    "train/heldout_retrieval.py": {
        "eval.measures.catalogue",
        "eval.measures.macro",
        "eval.measures.per_query",
        "eval.tasks.base",
        "search.ranks",
    },
    "data/__main__.py": {"eval.leakage.command", "runtime.program"},
    "ablate/plan.py": {"debias.methods"},
    "ablate/phases.py": {"data.locate"},
    "ablate/curve.py": {"data.languages"},
}
"""Single files of a room above, for a room or one of its files: a model card shows what report.json says, in the same
words; a teacher's vectors are an embedding store; the held-out pool is measured as a task is; `python -m
hybrid_jax.data leakage` compares with tasks; every command's usage line names the program; a sweep names methods of
debiasing, finds the texts that they are fitted on as datasets are found, and spells the languages of a curve as
datasets do."""
COMPOSITION_ROOTS = {
    "ablate/plan.py",
    "ablate/search.py",
    "data/__main__.py",
    "embed/run.py",
    "eval/leakage/command.py",
    "train/__main__.py",
    "train/loop.py",
    "train/outline.py",
    "train/plan.py",
    "train/programs.py",
}
"""The only files in rooms that see a whole Config; everything else takes the part it needs, or plain values."""
WITHOUT_JAX = {"data", "disk"}
JAX = {"jax", "jaxlib", "flax", "optax", "orbax"}
FORBIDDEN = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "torch", "tensorflow"}
"""What runs code from files, and other frameworks."""
MAX_LINES = 300
DRAWERS = {"utils", "util", "helpers", "common", "misc"}
LARGEST_SHARE = 0.25
MAX_DOCSTRING_LINES = 5


def package() -> Sources:
    top = ROOT / "hybrid_jax"
    return {str(path.relative_to(top)): path.read_text(encoding="utf-8") for path in sorted(top.rglob("*.py"))}


def imported(path: str, source: str) -> set[str]:
    """Full names of everything that a file imports, wherever in it, relative imports resolved."""
    names: set[str] = set()
    package = ["hybrid_jax", *Path(path).parent.parts]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def _ours(path: str, source: str) -> set[str]:
    """The same of our own package, without "hybrid_jax."."""
    return {name.partition(".")[2] for name in imported(path, source) if name.startswith("hybrid_jax.")}


def _room(path: str) -> str:
    """The folder of hybrid_jax that a file lies in; "" for the files at its top, which may see everything."""
    parts = Path(path).parts
    return parts[0] if len(parts) > 1 else ""


def _file(name: str, sources: Sources) -> str | None:
    """The file that an imported name means: a module, or the module or package that defines it."""
    parts = name.split(".")
    for end in (len(parts), len(parts) - 1):
        stem = "/".join(parts[:end])
        for path in (f"{stem}.py", f"{stem}/__init__.py"):
            if path in sources:
                return path
    return None


def upward_imports(sources: Sources) -> Iterator[str]:
    for path, source in sources.items():
        room = _room(path)
        if not room:
            continue
        for name in _ours(path, source):
            target = name.split(".")[0]
            files = ALSO.get(room, set()) | ALSO.get(path, set())
            single = any(name == file or name.startswith(f"{file}.") for file in files)
            if target not in BELOW.get(room, set()) | {room, "config"} and not single:
                yield f"{path} imports {name}"


def whole_configs(sources: Sources) -> Iterator[str]:
    for path, source in sources.items():
        if (
            _room(path)
            and path not in COMPOSITION_ROOTS
            and any(name.startswith("config") for name in _ours(path, source))
        ):
            yield f"{path} sees a whole Config"
    yield from (f"{path} is a composition root that does not exist" for path in COMPOSITION_ROOTS - sources.keys())


def import_circles(sources: Sources) -> Iterator[str]:
    """Files that import one another, directly or not, imports inside functions included."""
    edges = {
        path: {file for name in _ours(path, source) if (file := _file(name, sources)) not in (None, path)}
        for path, source in sources.items()
    }
    finished: set[str | None] = set()

    def visit(path: str, trail: tuple[str, ...]) -> Iterator[str]:
        if path in trail:
            yield " -> ".join((*trail[trail.index(path) :], path))
        elif path not in finished:
            for target in sorted(filter(None, edges[path])):
                yield from visit(target, (*trail, path))
            finished.add(path)

    for path in sources:
        yield from visit(path, ())


def jax_in_jax_free_rooms(sources: Sources) -> Iterator[str]:
    for path, source in sources.items():
        if _room(path) in WITHOUT_JAX:
            yield from (f"{path} imports {name}" for name in imported(path, source) if name.split(".")[0] in JAX)


def forbidden_packages(sources: Sources) -> Iterator[str]:
    for path, source in sources.items():
        yield from (f"{path} imports {name}" for name in imported(path, source) if name.split(".")[0] in FORBIDDEN)


def long_files(sources: Sources) -> Iterator[str]:
    for path, source in sources.items():
        lines = len(source.splitlines())
        if lines > MAX_LINES:
            yield f"{path} has {lines} lines: split it by idea"


def drawers(sources: Sources) -> Iterator[str]:
    yield from (f"{path}: name the file after what it does" for path in sources if Path(path).stem in DRAWERS)


def overfull_folders(sources: Sources) -> Iterator[str]:
    """Folders whose own files, subfolders counted apart, hold more than a quarter of all lines."""
    lines: dict[str, int] = {}
    for path, source in sources.items():
        folder = str(Path(path).parent)
        lines[folder] = lines.get(folder, 0) + len(source.splitlines())
    total = sum(lines.values())
    yield from (f"{folder} holds {n} of {total} lines" for folder, n in lines.items() if n > LARGEST_SHARE * total)


def undescribed_rooms(sources: Sources) -> Iterator[str]:
    """Rooms without a short docstring: what is in it, which file to open first, what it may import."""
    for path, source in sources.items():
        if Path(path).name == "__init__.py" and _room(path):
            docstring = ast.get_docstring(ast.parse(source))
            if docstring is None or len(docstring.splitlines()) > MAX_DOCSTRING_LINES:
                yield f"{path}: say in at most {MAX_DOCSTRING_LINES} lines what is in the room and where to begin"


Rule = Callable[[Sources], Iterator[str]]
_LONG = "\n".join(f"x{i} = {i}" for i in range(MAX_LINES + 1))
PLANTED: Mapping[Rule, Sources] = {
    upward_imports: {"search/ranks.py": "def rank():\n    from hybrid_jax.eval.tasks import Query\n"},
    whole_configs: {"eval/loop.py": "from hybrid_jax.config import Config\n"},
    import_circles: {
        "embed/encoder.py": "def mteb():\n    from .mteb import MtebEncoder\n",
        "embed/mteb.py": "from hybrid_jax.embed.encoder import TextEncoder\n",
    },
    jax_in_jax_free_rooms: {"data/pairing.py": "import jax.numpy as jnp\n"},
    forbidden_packages: {"embed/load.py": "from pickle import loads\n"},
    long_files: {"eval/job.py": _LONG},
    drawers: {"model/utils.py": ""},
    overfull_folders: {"eval/a.py": _LONG, "data/b.py": "", "train/c.py": "x = 1\n"},
    undescribed_rooms: {"disk/__init__.py": ""},
}


@pytest.mark.parametrize("rule", PLANTED, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rule(rule: Rule):
    assert sorted(rule(package())) == []


@pytest.mark.parametrize("rule", PLANTED, ids=lambda rule: rule.__name__)
def test_the_rule_finds_a_planted_violation(rule: Rule):
    roots = dict.fromkeys(COMPOSITION_ROOTS, "") if rule is whole_configs else {}
    found = list(rule({**roots, **PLANTED[rule]}))
    assert len(found) == 1, found
    assert any(path in found[0] or str(Path(path).parent) in found[0] for path in PLANTED[rule])


def test_every_room_is_in_the_table():
    assert {_room(path) for path in package()} - {""} == set(BELOW)


def test_the_reader_of_imports_sees_all_forms():
    source = "import a.b as c\nfrom d import e\ndef f():\n    from ..g import h\n    from . import i\n"
    assert imported("data/x.py", source) == {"a.b", "d.e", "hybrid_jax.g.h", "hybrid_jax.data.i"}


def test_tests_stay_short():
    lengths = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "tests").rglob("*.py")}
    assert {path: lines for path, lines in lengths.items() if lines > 400} == {}
