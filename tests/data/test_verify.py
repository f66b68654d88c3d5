"""The prepared cache: a changed byte in any of its files is named, and its folder is made again, as it was."""

import random
import re
from pathlib import Path

import pytest

from hybrid_jax.config import Config, parse_config
from hybrid_jax.data.pipeline import Pipeline
from hybrid_jax.disk.manifest import NAME


@pytest.fixture
def config(tiny_run, tmp_path: Path) -> Config:
    """The config of a tiny run, with a prepared cache of its own that has nothing else in it."""
    config = parse_config(tiny_run.yaml)
    config = config.model_copy(update={"data": config.data.model_copy(update={"cache_dir": str(tmp_path / "cache")})})
    opened(config)
    return config


def opened(config: Config) -> tuple[list[str], list[str], dict[str, str]]:
    """What is said while the data are opened; and digests of batches and of the prepared arrays."""
    said: list[str] = []
    pipeline = Pipeline(config.data, config.mixture, config.batch_size, config.seed, report=said.append)
    batches = [pipeline.batch(step) for step in (0, 7)]
    return said, [f"{batch.digest} {batch.lengths.tolist()}" for batch in batches], pipeline.digests


def files(cache: Path) -> list[Path]:
    return sorted(path for folder in ("stores", "tokenizers") for path in (cache / folder).rglob("*") if path.is_file())


def test_a_flipped_byte_in_any_prepared_file_makes_its_folder_again(config: Config, tmp_path: Path):
    said, expected, digests = opened(config)
    assert said == []
    chance = random.Random(0)
    names = [path.relative_to(tmp_path) for path in files(tmp_path / "cache")]
    assert len(names) >= 18
    content = {name: (tmp_path / name).read_bytes() for name in names}
    for name in names:
        path = tmp_path / name
        damaged = bytearray(content[name])
        if not damaged:  # an array of nothing, such as texts without negatives, has a header; a file has none
            continue
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        said, batches, again = opened(config)
        if name.name == NAME:  # a byte of a digest or of a file's name makes that file wrong
            assert re.fullmatch(rf"{path.parent} is damaged \(.*\): making it again", said[0])
        else:
            assert said[0] == f"{path.parent} is damaged ({name.name} is not what was saved): making it again"
        assert (batches, again) == (expected, digests), name
        assert opened(config)[0] == []
    assert {name: (tmp_path / name).read_bytes() for name in names} == content
    assert not list((tmp_path / "cache").rglob("*.damaged-*"))


def test_a_lost_file_and_a_lost_manifest_make_their_folder_again(config: Config, tmp_path: Path):
    _, expected, digests = opened(config)
    for name, reason in ((NAME, f"it has no {NAME}"), ("tokens.npy", "tokens.npy is not what was saved")):
        (path,) = (tmp_path / "cache").rglob(f"query-*/{name}")
        path.unlink()
        said, batches, again = opened(config)
        assert said[0] == f"{path.parent} is damaged ({reason}): making it again"
        assert (batches, again) == (expected, digests)
