"""Finding a dataset's files and TFDS folders: variables and globs in its path, and errors that name what is near."""

import difflib
import os
import re
from pathlib import Path

from hybrid_jax.data.dataset import DatasetConfig, is_named
from hybrid_jax.data.hugging_face import HUB, hub_files, is_saved_dataset, saved_files
from hybrid_jax.data.records import DataError
from hybrid_jax.disk.addresses import refuse_address

DATA_VARIABLE = "HYBRID_JAX_DATA"
DEFAULT_DATA = Path("../shared/data")


def resolve_files(config: DatasetConfig) -> list[Path]:
    """The dataset's files, in reading order; the demo corpus and TFDS datasets have none.

    Raises DataError if a file does not exist or is listed twice.
    """
    files = [file for part in config.parts if not is_named(part) for file in find_files(part, config.split)]
    repeated = next((file for i, file in enumerate(files) if file in files[:i]), None)
    if repeated is not None:
        raise DataError(f"{repeated}: listed twice in the path of dataset {config.name!r}, name it once")
    return files


def find_files(part: str, split: str) -> list[Path]:
    """The files that one part of a path names, sorted. Raises DataError with the nearest names if there are none.

    `split` is read of a folder that Hugging Face `datasets` saved, and of a dataset of its hub.
    """
    if part.startswith(HUB):
        return hub_files(part.removeprefix(HUB), split)
    path = _expand(part)
    if path.is_file():
        return [path]
    if path.is_dir() and is_saved_dataset(path):
        return saved_files(path, split)
    if path.is_dir():
        files = [file for file in sorted(path.rglob("*")) if file.is_file()]
        glob = "**/*" if files and files[0].parent != path else "*"
        ending = f".{files[0].name.partition('.')[2]}" if files else ".jsonl.gz"
        raise DataError(f"{path}: is a folder, name its files (e.g. {path}/{glob}{ending})")
    is_glob = any(letter in part for letter in "*?[")
    folder = path.parent
    while any(letter in str(folder) for letter in "*?["):
        folder = folder.parent
    if is_glob:
        files = sorted(file for file in folder.glob(str(path.relative_to(folder))) if file.is_file())
        if files:
            return files
    if not folder.is_dir():
        raise DataError(f"{path}: there is no folder {folder}, correct the dataset's path")
    names = sorted(file.name for file in folder.iterdir())
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5) or names[:5]
    there = f"the nearest names in {folder} are {', '.join(near)}" if near else f"{folder} is empty"
    raise DataError(f"{path}: {'matches no file' if is_glob else 'no such file'}, correct the dataset's path ({there})")


def find_tfds(part: str, config: DatasetConfig) -> Path:
    """The prepared folder that "tfds:NAME" or "tfds:FOLDER" means. Raises DataError if there is none."""
    from hybrid_jax.data.corpora import aligned_tfds  # tensorflow_datasets takes a second to import

    name = part.removeprefix("tfds:")
    if name.startswith(("/", ".", "~", "$")):
        return aligned_tfds.find_prepared(_expand(name))
    root = config.tfds_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return aligned_tfds.find_prepared(_expand(root) / name)


def _expand(text: str) -> Path:
    """The path with ~ and $VARIABLES replaced. Raises DataError if a variable is not set."""

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name in os.environ:
            return os.environ[name]
        if name == DATA_VARIABLE and DEFAULT_DATA.is_dir():
            return str(DEFAULT_DATA)
        default = f" and there is no {DEFAULT_DATA}" if name == DATA_VARIABLE else ""
        raise DataError(f"{text}: ${name} is not set{default}, type: export {name}=/folder/of/the/data")

    expanded = re.sub(r"\$(?:(\w+)|\{(\w+)\})", value, text)
    refuse_address(expanded)
    return Path(expanded).expanduser()


def label_files(files: list[Path]) -> dict[Path, str]:
    """Each file's path below the common folder of all: a label that does not depend on where the data is."""
    if not files:
        return {}
    folder = os.path.commonpath([file.absolute().parent for file in files])
    return {file: file.absolute().relative_to(folder).as_posix() for file in files}
