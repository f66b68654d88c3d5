"""Every family, with new weights at every run, against transformers and sentence-transformers.

PARITY_SEED=N, as a failure prints it, makes the same weights again.
"""

import os
import secrets
from pathlib import Path

import pytest
import torch
from support.parity import check
from support.reference import CASES, TEXTS, expected

SEED = int(os.environ.get("PARITY_SEED", secrets.randbelow(2**31)))


@pytest.mark.parametrize("name", CASES)
def test_equals_pytorch(name: str, tmp_path: Path):
    print(f"PARITY_SEED={SEED}")
    torch.manual_seed(SEED)
    CASES[name](tmp_path)
    worst = check(tmp_path, expected(tmp_path), list(TEXTS))
    print(f"{name}: " + ", ".join(f"{what} {error:.1e}" for what, error in worst.items()))
