"""Arrays with a header are read as they were written, and any other file is refused in one line."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict

from hybrid_jax.disk.arrays import load_arrays, save_arrays


class Header(BaseModel):
    model_config = ConfigDict(extra="forbid")

    names: tuple[str, ...]


class Other(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: int


def load(path: Path, kind: type[Header] | type[Other] = Header) -> tuple[BaseModel, dict[str, np.ndarray]]:
    return load_arrays(path, kind, lambda header: getattr(header, "names", ()), "write it again")


def test_what_was_written_comes_back(tmp_path: Path):
    arrays = {"a/ü": np.array([[1.5, np.nan]]), "b": np.zeros((0, 3), np.int8)}
    save_arrays(tmp_path / "new" / "file.npz", Header(names=("a/ü", "b")), arrays)
    header, loaded = load(tmp_path / "new" / "file.npz")
    assert header == Header(names=("a/ü", "b"))
    assert list(loaded) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array, strict=True)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file.npz"]


def test_anything_else_is_refused_in_one_line(tmp_path: Path):
    path = tmp_path / "file.npz"

    def message(kind: type[Header] | type[Other] = Header) -> str:
        with pytest.raises(ValueError, match=r"^[^\n]*write it again$") as caught:
            load(path, kind)
        return str(caught.value)

    assert message().startswith(f"no file {path}")
    save_arrays(path, Header(names=("a", "missing")), {"a": np.ones(1000)})
    assert "damaged (KeyError" in message()
    assert "its header is not one of ours (version: Field required)" in message(Other)
    save_arrays(path, Header(names=("a",)), {"a": np.ones(1000)})
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        assert "damaged (" in message()
    path.write_text("{}")
    assert "damaged (" in message()
    path.write_bytes(content)
    assert load(path)[1]["a"].sum() == 1000
