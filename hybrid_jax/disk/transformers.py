"""The library transformers, which reads the tokenizers and configs in folders, without its advice on the rest."""

import os
from types import ModuleType

_NO_ADVICE = "TRANSFORMERS_NO_ADVISORY_WARNINGS"


def import_transformers() -> ModuleType:
    """Takes a second. Where torch is not installed, transformers warns that it has no models: we only use its
    tokenizers and configs, so that would alarm people for nothing."""
    before = os.environ.get(_NO_ADVICE)
    os.environ[_NO_ADVICE] = "1"
    try:
        import transformers
    finally:
        if before is None:
            del os.environ[_NO_ADVICE]
        else:
            os.environ[_NO_ADVICE] = before
    return transformers
