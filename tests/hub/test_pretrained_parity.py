"""Equal to PyTorch, family by family: stored folders that transformers saved, and what it made of them.

`PYTHONPATH=tests python tests/support/reference.py` makes them (it needs torch); `make parity` does the same with new
weights, live.
"""

from pathlib import Path

import numpy as np
import pytest
from support.parity import check

FIXTURES = Path(__file__).parents[1] / "fixtures" / "pretrained"
TEXTS = (FIXTURES / "texts.txt").read_text(encoding="utf-8").split("\n")


@pytest.mark.parametrize("folder", sorted(path for path in FIXTURES.iterdir() if path.is_dir()), ids=lambda f: f.name)
def test_equals_pytorch(folder: Path):
    with np.load(folder / "expected.npz") as expected:
        check(folder, dict(expected), TEXTS)
