"""Hugging Face `datasets`: the Arrow files of a folder that `save_to_disk` wrote, and of a dataset of the hub.

A folder of one dataset has state.json, which lists its Arrow files; a folder of several splits has dataset_dict.json
and a folder for each split. Neither needs the `datasets` library. A dataset of the hub is downloaded with it.
"""

import difflib
import json
from functools import cache
from pathlib import Path

from hybrid_jax.data.records import DataError

HUB = "hub:"


def is_saved_dataset(folder: Path) -> bool:
    """Whether `save_to_disk` of a dataset or of a dictionary of splits wrote this folder."""
    return any((folder / name).is_file() for name in ("state.json", "dataset_dict.json"))


def saved_files(folder: Path, split: str) -> list[Path]:
    """The Arrow files of a saved folder, in order; of its split `split`, where it has several.

    A folder of one dataset is read as "train", whatever it is, or by the name of the split that it was. Raises
    DataError for another split, and for a folder that is not complete.
    """
    several = (folder / "dataset_dict.json").is_file()
    try:
        if several:
            splits: list[str] = json.loads((folder / "dataset_dict.json").read_text(encoding="utf-8"))["splits"]
            if split not in splits:
                raise DataError(f"{folder}: {_no_split(split, splits)}")
            folder = folder / split
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        if not several and split not in ("train", state.get("_split")):
            raise DataError(
                f"{folder}: one dataset without splits, but split is {split!r}: leave the dataset's split out to read "
                f"all of it"
            )
        files = [folder / str(entry["filename"]) for entry in state["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{folder}: no complete folder of save_to_disk ({error!r}), save it again") from None
    missing = [file for file in files if not file.is_file()]
    if missing or not files:
        raise DataError(f"{folder}: {missing[0].name if missing else 'every Arrow file'} is missing, save it again")
    return files


@cache
def hub_files(name: str, split: str) -> list[Path]:
    """The Arrow files of split `split` of a dataset of the hub, "NAME" or "NAME:CONFIG"; downloaded where they are not.

    Raises DataError without the `datasets` library, without a network, and for a name or split that does not exist.
    """
    try:
        import datasets
    except ModuleNotFoundError:
        raise DataError(f"{HUB}{name}: reading it needs datasets, type: pip install 'hybrid_jax[datasets]'") from None
    repository, _, config = name.partition(":")
    try:
        splits = datasets.load_dataset(repository, config or None)
    except Exception as error:  # noqa: BLE001 (errors of HTTP, of files and of the hub, each of another class)
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"{HUB}{name}: cannot be had ({reason}). Where there is a network, type: hf download --repo-type dataset "
            f"{repository} --local-dir FOLDER, and set path to the split's files, such as FOLDER/**/{split}-*.parquet"
        ) from None
    if split not in splits:
        raise DataError(f"{HUB}{name}: {_no_split(split, list(map(str, splits)))}")
    return [Path(file["filename"]) for file in splits[split].cache_files]


def _no_split(split: str, splits: list[str]) -> str:
    near = difflib.get_close_matches(split, splits, n=1)
    return (
        f"there is no split {split!r} (splits: {', '.join(splits)}), set the dataset's split to {(near or splits)[0]}"
    )
