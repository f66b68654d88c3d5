"""Folders whose weights must be converted first: pickles, and adapters. What is said of them, with commands to copy.

Nothing here opens a pickle or runs code from a folder. The commands need torch (and peft for adapters), which the rest
of hybrid_jax does not; `tests/parity/test_advice.py` runs them.
"""

import shlex
from pathlib import Path

from hybrid_jax.hub.json_files import PretrainedError, read_object

_CONVERT = (
    "import sys, torch; from safetensors.torch import save_file; "
    "save_file({name: tensor.contiguous().clone() for file in sys.argv[2:] for name, tensor in "
    "torch.load(file, map_location='cpu', weights_only=True).items()}, sys.argv[1], {'format': 'pt'})"
)
"""Copies the tensors of pickles into one safetensors file. With weights_only, torch runs no code from them."""
_MERGE = (
    "import sys; from transformers import AutoModel; from peft import PeftModel; "
    "PeftModel.from_pretrained(AutoModel.from_pretrained(sys.argv[1]), sys.argv[2])"
    ".merge_and_unload().save_pretrained(sys.argv[3])"
)


def missing_weights(folder: Path) -> str:
    """What to say of a folder without safetensors: the command that writes them from its pickles, where it has some.

    The command writes one file beside the pickles and touches no other, so that pooling, prompts and tokenizer stay.
    """
    pickles = _pickles(folder)
    where, hub_id = folder, _hub_id(folder)
    if not pickles and hub_id is None:
        return f"{folder} has no model.safetensors: give the folder of a model that was saved as safetensors"
    problem = (
        f"{folder} has its weights only as {', '.join(pickles[:2])}, a pickle, which can run code when it is opened"
    )
    download = then = ""
    if hub_id is not None:
        name, part = hub_id
        local = Path(name.rsplit("/", 1)[-1])
        where, pickles = local / part, pickles or ["pytorch_model.bin"]
        problem = (
            f"{name} has no safetensors{f' in {part}' if part.parts else ''}. Its pickles ({pickles[0]}), which can "
            f"run code when they are opened, were not downloaded"
        )
        then = f", then give the folder {local}"
        download = f"hf download {shlex.quote(name)} --local-dir {shlex.quote(str(local))} && "
    files = " ".join(shlex.quote(str(where / file)) for file in ["model.safetensors", *pickles])
    return (
        f"{problem}. Convert it where torch is installed, which runs no code from it{then}: "
        f'{download}python -c "{_CONVERT}" {files}'
    )


def check_no_adapter(folder: Path) -> None:
    """Raises PretrainedError, with the command that merges it, when the folder has an adapter.

    transformers adds the adapter to the folder's own weights or, where the folder has no config.json, to those of the
    base model that the adapter names.
    """
    path = folder / "adapter_config.json"
    if not path.exists():
        return
    content = read_object(path)
    base, task = content.get("base_model_name_or_path"), content.get("task_type")
    own = not base or (folder / "config.json").is_file()
    problem = f"{path}: an adapter {'beside the weights' if own else f'of {base}'}, which is not supported"
    if task not in (None, "FEATURE_EXTRACTION"):
        raise PretrainedError(f"{problem}: merge it with the code that trained it (task {task}), and give the result")
    hub_id = _hub_id(folder)
    merged = f"{folder.resolve().name if hub_id is None else hub_id[0].rsplit('/', 1)[-1]}-merged"
    words = [merged if own else str(base), str(folder), merged]
    source, target = shlex.quote(str(folder)), shlex.quote(merged)
    raise PretrainedError(
        f"{problem}: merge it where torch and peft are installed, then give the folder {merged}: "
        f"cp -rL {source} {target} && rm {target}/adapter_* && "
        f'python -c "{_MERGE}" {" ".join(map(shlex.quote, words))}'
    )


def _pickles(folder: Path) -> list[str]:
    """The names of the folder's pickled weights, in transformers' order: one file, or the shards of an index."""
    if (folder / "pytorch_model.bin").exists():
        return ["pytorch_model.bin"]
    listed = read_object(folder / "pytorch_model.bin.index.json").get("weight_map")
    if isinstance(listed, dict):
        return sorted({Path(str(file)).name for file in listed.values()})
    return sorted(path.name for path in folder.glob("pytorch_model*.bin"))


def _hub_id(folder: Path) -> tuple[str, Path] | None:
    """The hub id of a folder in the hub's cache, and its path within the model; None for other folders.

    The cache has models--OWNER--NAME/snapshots/REVISION/….
    """
    for parent in (folder, *folder.parents):
        repository = parent.parents[1].name if len(parent.parents) > 1 else ""
        if parent.parent.name == "snapshots" and repository.startswith("models--"):
            return repository.removeprefix("models--").replace("--", "/"), folder.relative_to(parent)
    return None
