"""The library transformers, which reads the tokenizers and configs in folders, without its advice and without torch."""

import os
import sys
from types import ModuleType

from hybrid_jax.disk.without_torch import torch_left_out

_NO_ADVICE = "TRANSFORMERS_NO_ADVISORY_WARNINGS"


def import_transformers() -> ModuleType:
    """Takes a second. Where torch is not installed, transformers warns that it has no models: we only use its
    tokenizers and configs, so that would alarm people for nothing."""
    if "transformers" in sys.modules:
        import transformers  # waits where another thread is importing it

        return transformers
    before = os.environ.get(_NO_ADVICE)
    os.environ[_NO_ADVICE] = "1"
    try:
        with torch_left_out():
            import transformers

            for name in ("AutoConfig", "AutoTokenizer"):
                getattr(transformers, name)  # which imports what looks for torch
    finally:
        if before is None:
            del os.environ[_NO_ADVICE]
        else:
            os.environ[_NO_ADVICE] = before
    return transformers
