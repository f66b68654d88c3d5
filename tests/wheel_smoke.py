"""Builds the wheel and the sdist of HEAD and uses the installed wheel as a stranger would: `make wheel-test`.

    python3 tests/wheel_smoke.py [PYTHON …]     # default: the one that runs this

Everything happens outside the repository, in a clean virtual environment of each PYTHON: a training run of a few steps,
an evaluation with its page, a sweep's page and an export, which between them read every data file of the package.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TINY = """
steps: 4
batch_size: 8
data:
  datasets: [{name: demo, path: demo}]
  tokenizer: {vocab_size: 2000, training_characters: 100_000}
  max_query_length: 24
  max_passage_length: 24
  cache_dir: cache
model: {encoder: {vocab_size: 2000, hidden_size: 16, num_layers: 1, num_heads: 2, intermediate_size: 32,
  max_length: 24}}
optimizer: {warmup_steps: 1}
"""


def main() -> int:
    """Returns 0, or raises where something is missing or fails."""
    pythons = [str(Path(shutil.which(name) or name).absolute()) for name in sys.argv[1:] or [sys.executable]]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        wheel = build(folder)
        for number, python in enumerate(pythons):
            started = time.monotonic()
            use(python, wheel, folder / f"use-{number}")
            version = said(folder, python, "--version").strip()
            sys.stdout.write(
                f"{version}: the wheel installs, trains, evaluates, ablates and exports ({_since(started)})\n"
            )
    return 0


def build(folder: Path) -> Path:
    """The wheel of HEAD, built from the sdist, which is built from what git has: nothing that lies about gets in."""
    source = folder / "source"
    source.mkdir()
    archive = subprocess.run(["git", "-C", ROOT, "archive", "HEAD"], capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", source], input=archive, check=True)
    subprocess.run([sys.executable, "-m", "venv", folder / "build"], check=True)
    said(folder, folder / "build/bin/pip", "install", "--quiet", "build")
    said(folder, folder / "build/bin/python", "-m", "build", "--outdir", folder / "dist", source)
    (wheel,), (sdist,) = (folder / "dist").glob("*.whl"), (folder / "dist").glob("*.tar.gz")
    tracked = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    with zipfile.ZipFile(wheel) as content:
        inside = {name for name in content.namelist() if ".dist-info/" not in name}
    expect("the wheel", inside, {path for path in tracked if path.startswith("hybrid_jax/")})
    with tarfile.open(sdist) as content:
        inside = {member.name.partition("/")[2] for member in content.getmembers() if member.isfile()}
    expect("the sdist", inside - {"PKG-INFO"}, {path for path in tracked if not path.startswith(".ci/")})
    return wheel


def use(python: str, wheel: Path, folder: Path) -> None:
    """Installs the wheel and runs its commands."""
    folder.mkdir()
    said(folder, python, "-m", "venv", folder / "venv")
    said(folder, folder / "venv/bin/pip", "install", "--quiet", wheel)
    command = folder / "venv/bin/hybrid-jax"
    (folder / "tiny.yaml").write_text(TINY, encoding="utf-8")
    version = wheel.name.split("-")[1]
    assert said(folder, command, "--version") == f"hybrid_jax {version}\n"
    printed = said(folder, folder / "venv/bin/python", "-c", "import hybrid_jax as h; print(h.__version__, h.__file__)")
    assert printed.split() == [version, str(next((folder / "venv").glob("lib/*/site-packages/hybrid_jax/__init__.py")))]
    said(folder, command, "data", "describe", "--config", "tiny.yaml")
    said(folder, command, "train", "--config", "tiny.yaml", "--workdir", "run")
    said(folder, command, "eval", "--ckpt", "run", "--tasks", "demo", "--also", "figures")
    said(folder, command, "export", "--ckpt", "run", "--out", "exported")
    sweep = ["--config", "tiny.yaml", "--grid", "mixture.monolingual_fraction=0.5", "--workdir", "sweep"]
    said(folder, command, "ablate", *sweep)
    for path in ("run/eval/report.html", "exported/README.md", "sweep/page/index.html"):
        assert (folder / path).stat().st_size > 1000, path


def expect(name: str, actual: set[str], expected: set[str]) -> None:
    """Raises AssertionError where files are missing or too many."""
    assert actual == expected, f"{name} lacks {sorted(expected - actual)} and has besides {sorted(actual - expected)}"


def said(folder: Path, *command: object) -> str:
    """What a command prints, run in `folder` without this checkout on its path. Raises when it fails."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    words = [str(word) for word in command]
    ended = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(
            f"{' '.join(words)}: status {ended.returncode}\n{ended.stdout[-2000:]}{ended.stderr[-3000:]}"
        )
    return ended.stdout


def _since(started: float) -> str:
    return f"{time.monotonic() - started:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
