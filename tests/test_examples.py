"""The examples as a newcomer runs them: the scripts as they stand, and the notebook from its first cell to its last."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = """
import sys
import nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=250).execute()
nbformat.write(notebook, sys.argv[1])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of something like a clone, with the examples and nothing else."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "examples", folder / "examples")
    return folder


def run(folder: Path, *words: object) -> str:
    """What Python prints with these words."""
    # One device, as a user has it: the tests' eight share two cores.
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    environment |= {"HOME": str(folder), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_table_is_trained_on_and_searched(folder: Path):
    printed = run(folder, "examples/own_data.py")
    (before, after) = re.findall(r"loss of the first step (\d+\.\d+), of the last ten (\d+\.\d+)", printed)[0]
    assert float(after) < 0.2 * float(before)
    (best,) = re.findall(r"Can I borrow a helmet\?\n  \d\.\d+  (.*)\n", printed)
    assert re.search("helmets|helme|cascos", best, re.I)
    assert len(re.findall(r"^  \d\.\d{3}  ", printed, re.M)) == 9


def test_a_published_model_is_fine_tuned(folder: Path):
    printed = run(folder, "examples/fine_tune.py", ROOT / "tests/fixtures/pretrained/minilm")
    before, after = re.findall(
        r"^(?:published|fine-tuned) +mAP Mo\. (0\.\d+)  Cr\. 0\.\d+  Mul\. 0\.\d+$", printed, re.M
    )
    assert float(after) > float(before), printed
    assert "hybrid-jax export --ckpt runs/fine-tuned-minilm --out exported/fine-tuned-minilm\n" in printed
    assert (folder / "runs/fine-tuned-minilm").is_dir()  # another model gets another folder


def test_cross_lingual_batches_help_across_languages(folder: Path):
    rows = [line.split() for line in run(folder, "examples/alpha.py").splitlines() if re.match(r" +[01]\.\d  ", line)]
    cross = {alpha: float(cross) for alpha, _, cross, _, _ in rows}
    assert cross["0.5"] > cross["1.0"] + 0.1


def test_the_notebook_runs_from_top_to_bottom(folder: Path):
    path = folder / "examples/first_hour.ipynb"
    text = path.read_text(encoding="utf-8")
    assert text.count("steps: 200\\n") == 1
    path.write_text(text.replace("steps: 200\\n", "steps: 20\\n"), encoding="utf-8")  # a tenth of the time
    run(folder, "-c", NOTEBOOK, "examples/first_hour.ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    printed = "".join(
        "".join(output["text"]) for cell in code for output in cell["outputs"] if output["output_type"] == "stream"
    )
    assert "monolingual    mAP 0." in printed
    assert "largest difference of its vectors" in printed
    assert "error" not in printed


def test_the_notebook_in_the_repository_has_no_outputs():
    cells = json.loads((ROOT / "examples/first_hour.ipynb").read_text(encoding="utf-8"))["cells"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells if cell["cell_type"] == "code")


def test_the_page_of_examples_names_them_all():
    page = (ROOT / "docs/examples.md").read_text(encoding="utf-8")
    names = [path.name for path in (ROOT / "examples").iterdir() if path.suffix in (".py", ".ipynb", ".yaml")]
    assert [name for name in names if f"examples/{name}" not in page] == []
