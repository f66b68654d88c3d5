"""The library transformers, which reads the tokenizers and configs in folders, without its advice and without torch."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import ModuleType

_NO_ADVICE = "TRANSFORMERS_NO_ADVISORY_WARNINGS"
_without_torch = False


def leave_torch_out() -> None:
    """Makes this whole process use transformers as where torch is not installed; call it in a program's own `main`.

    transformers imports torch with the first config that it reads: 180 MiB and a second, for nothing that we use. It
    remembers that there is none, so that its models cannot be used any more in this process.
    """
    global _without_torch
    _without_torch = True


def import_transformers() -> ModuleType:
    """Takes a second. Where torch is not installed, transformers warns that it has no models: we only use its
    tokenizers and configs, so that would alarm people for nothing."""
    if "transformers" in sys.modules:
        return sys.modules["transformers"]
    before = os.environ.get(_NO_ADVICE)
    os.environ[_NO_ADVICE] = "1"
    try:
        with _hidden("torch") if _without_torch else nullcontext():
            import transformers

            for name in ("AutoConfig", "AutoTokenizer"):
                getattr(transformers, name)  # which imports what looks for torch
    finally:
        if before is None:
            del os.environ[_NO_ADVICE]
        else:
            os.environ[_NO_ADVICE] = before
    return transformers


@contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Whoever looks for the package meanwhile finds none, unless it was imported before."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # pyright: ignore[reportArgumentType] (how Python is told that there is none)
    try:
        yield
    finally:
        del sys.modules[package]
