"""The commands that messages about model folders print do what they say: each is taken from the message and run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from support.reference import TEXTS
from transformers import AutoModel

from hybrid_jax.data.tokenizer import Tokenizer
from hybrid_jax.embed.load import load
from hybrid_jax.hub.json_files import PretrainedError

FIXTURES = Path(__file__).parents[1] / "fixtures" / "pretrained"


def pickled(folder: Path, part: str = "", shards: int = 1) -> None:
    """Replaces the safetensors of a part of a folder by PyTorch's pickles, with tensors that share memory."""
    files = sorted((folder / part).glob("model*.safetensors"))
    tensors = {name: tensor for file in files for name, tensor in load_file(file).items()}
    for file in (folder / part).glob("model*.safetensors*"):
        file.unlink()
    if "embeddings.word_embeddings.weight" in tensors:
        tensors["cls.predictions.decoder.weight"] = tensors["embeddings.word_embeddings.weight"]
    if shards == 1:
        torch.save(tensors, folder / part / "pytorch_model.bin")
        return
    names = list(tensors)
    chosen = {f"pytorch_model-{n + 1:05}-of-{shards:05}.bin": names[n::shards] for n in range(shards)}
    for file, own in chosen.items():
        torch.save({name: tensors[name] for name in own}, folder / part / file)
    weight_map = {name: file for file, own in chosen.items() for name in own}
    text = str({"metadata": {}, "weight_map": weight_map}).replace("'", '"')
    (folder / part / "pytorch_model.bin.index.json").write_text(text)


def advice(path_or_id: Path | str, first_word: str) -> str:
    """The command in the message of the error that loading gives."""
    with pytest.raises(PretrainedError) as told:
        load(path_or_id)
    match = re.search(rf": ({first_word} .*)", str(told.value))
    assert match is not None, told.value
    return match[1]


def run(command: str, cwd: Path) -> None:
    """Runs it in a shell, with this Python first in PATH."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path}
    ran = subprocess.run(command, shell=True, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{command}\n{ran.stderr}"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("name", "part", "shards"),
    [("bert", "", 1), ("bge_m3", "", 1), ("labse", "2_Dense", 1), ("e5", "", 3), ("xlmr_float16", "", 2)],
)
def test_the_conversion_of_pickles_keeps_pooling_prompts_and_all_files(
    name: str, part: str, shards: int, tmp_path: Path
):
    folder = Path(shutil.copytree(FIXTURES / name, tmp_path / "a model's folder" / name))
    expected = load(folder).encode_passages(TEXTS)
    pickled(folder, part, shards)
    before = contents(folder)
    run(advice(folder, "python"), tmp_path)
    written = str(Path(part, "model.safetensors"))
    assert {file: data for file, data in contents(folder).items() if file != written} == before
    np.testing.assert_array_equal(load(folder).encode_passages(TEXTS), expected)


def test_a_pickle_that_runs_code_is_not_run_by_the_conversion(tmp_path: Path):
    class Bomb:
        def __reduce__(self):
            return exec, ("import pathlib; pathlib.Path('went_off').touch()",)

    folder = Path(shutil.copytree(FIXTURES / "e5", tmp_path / "e5"))
    (folder / "model.safetensors").unlink()
    torch.save({"weight": Bomb()}, folder / "pytorch_model.bin")
    with pytest.raises(AssertionError, match=r"weights_only|Weights only"):
        run(advice(folder, "python"), tmp_path)
    assert not (tmp_path / "went_off").exists()


def test_pickles_on_the_hub_get_the_command_for_the_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The download itself needs the network: here a folder takes its place, and hf must know the arguments."""
    import huggingface_hub.constants

    revision = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "models--someone--tiny"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(revision)
    snapshot = Path(shutil.copytree(FIXTURES / "bge_m3", cached / "snapshots" / revision))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    expected = load("someone/tiny").encode_passages(TEXTS)
    (snapshot / "model.safetensors").unlink()
    download, convert = advice("someone/tiny", "hf").split(" && ")
    assert download == "hf download someone/tiny --local-dir tiny"
    ran = subprocess.run(
        [str(Path(sys.executable).parent / "hf"), *download.split()[1:]],
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode != 0
    assert re.search("offline|cannot find|Cannot find|connection", ran.stdout + ran.stderr)
    assert not re.search("[Uu]sage:|No such option|unrecognized", ran.stdout + ran.stderr)
    shutil.rmtree(tmp_path / "tiny", ignore_errors=True)
    shutil.copytree(FIXTURES / "bge_m3", tmp_path / "tiny")
    pickled(tmp_path / "tiny")
    run(convert, tmp_path)
    np.testing.assert_array_equal(load(tmp_path / "tiny").encode_passages(TEXTS), expected)


@pytest.mark.parametrize("base", ["elsewhere", "beside"])
def test_the_merge_of_an_adapter_gives_its_vectors(base: str, tmp_path: Path):
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    folder = Path(shutil.copytree(FIXTURES / "bge_m3", tmp_path / "adapted"))
    model = AutoModel.from_pretrained(folder)
    config = peft.LoraConfig(r=4, target_modules=["query", "value"], task_type="FEATURE_EXTRACTION")
    adapted = peft.get_peft_model(model, config)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.add_(torch.randn_like(parameter))
    adapted.peft_config["default"].base_model_name_or_path = str(shutil.copytree(FIXTURES / "e5", tmp_path / "base"))
    adapted.save_pretrained(folder)
    if base == "elsewhere":
        (folder / "config.json").unlink()
        (folder / "model.safetensors").unlink()
    run(advice(folder, "cp"), tmp_path)
    merged = load(tmp_path / "adapted-merged").encode_passages(TEXTS)
    plain = load(FIXTURES / "bge_m3").encode_passages(TEXTS)
    assert np.abs(merged - plain).max() > 1e-3
    theirs = np.asarray(SentenceTransformer(str(folder), device="cpu").encode_document(list(TEXTS)))
    assert np.abs(merged - theirs).max() < 1e-5


def test_the_command_that_writes_a_tokenizer_folder(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError) as told:
        Tokenizer(tmp_path / "empty")
    command = re.search(r"\((python .*) writes it\)$", str(told.value))
    assert command is not None, told.value
    run(command[1].replace("MODEL", str(FIXTURES / "xlmr")), tmp_path)
    assert Tokenizer(tmp_path / "empty").vocab_size == Tokenizer(FIXTURES / "xlmr").vocab_size
