"""gs://, s3:// and other addresses are refused by every command in one line, before anything is made of them."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

import hybrid_jax
from hybrid_jax.disk.addresses import AddressError, refuse_address

CONFIG = "steps: 1\ndata: {datasets: [{name: demo, path: demo}]}\n"
COMMANDS = {
    "train --config c.yaml --workdir ADDRESS": "--workdir",
    "train --config ADDRESS --workdir w": "--config",
    "train --config c.yaml --workdir w --data.cache_dir ADDRESS": "data.cache_dir",
    "train --config c.yaml --workdir w --data.tokenizer.path ADDRESS": "data.tokenizer.path",
    "train --config c.yaml --workdir w --pretrained ADDRESS": "",
    "train --config data.yaml --workdir w": "data.datasets.0.path",
    "train plan --config data.yaml": "data.datasets.0.path",
    "train summary ADDRESS": "RUN",
    "eval --ckpt ADDRESS": "",
    "eval --ckpt r --out ADDRESS": "--out",
    "eval --ckpt r --data-dir ADDRESS": "--data-dir",
    "eval --ckpt r --stores ADDRESS": "--stores",
    "eval --ckpt r --debias lsar --debias-text c.yaml ADDRESS": "--debias-text",
    "eval --ckpt r --tasks beir:ADDRESS": "beir",
    "eval compare ADDRESS r": "",
    "eval watch ADDRESS": "RUN",
    "eval watch r --data-dir ADDRESS": "--data-dir",
    "eval embed --ckpt r --corpus ADDRESS --out o": "--corpus",
    "eval embed --ckpt r --corpus c.yaml --out ADDRESS": "--out",
    "eval embed --ckpt ADDRESS --corpus corpus.jsonl --out o": "",
    "ablate --config c.yaml --workdir ADDRESS --seeds 2": "--workdir",
    "ablate --config data.yaml --workdir w --seeds 2 --dry-run": "data.datasets.0.path",
    "export --ckpt r --out ADDRESS": "--out",
    "export --ckpt ADDRESS --out o": "",
    "data prepare --config data.yaml": "data.datasets.0.path",
    "data prepare --config c.yaml --tfds ADDRESS": "--tfds",
    "data preview --config ADDRESS": "--config",
    "data describe --config data.yaml": "data.datasets.0.path",
    "data leakage --train ADDRESS --eval demo": "--train",
    "data leakage --config data.yaml --eval demo": "data.datasets.0.path",
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(CONFIG, encoding="utf-8")
    Path("data.yaml").write_text(CONFIG.replace("path: demo", "path: 'demo,gs://bucket/runs'"), encoding="utf-8")
    Path("corpus.jsonl").write_text('{"_id": "1", "text": "a"}\n', encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_it_and_makes_nothing(
    command: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    room, *words = command.replace("ADDRESS", "gs://bucket/runs").split()
    monkeypatch.setattr(sys, "argv", [room, *words])
    before = sorted(here.rglob("*"))
    status = import_module(f"hybrid_jax.{room}.__main__").main()
    said = capsys.readouterr().err
    name = COMMANDS[command]
    advice = "type 'gcsfuse --implicit-dirs bucket /mnt/bucket', and give /mnt/bucket/runs"
    assert said == f"error: {name}{' ' if name else ''}gs://bucket/runs is not a path of this machine: {advice}\n"
    assert status in (1, 2)
    assert sorted(here.rglob("*")) == before


def test_python_refuses_it_too():
    for call in (
        lambda: hybrid_jax.train("c.yaml", "s3://bucket/run"),
        lambda: hybrid_jax.load("s3://bucket/run"),
    ):
        told = r"s3://bucket/run is not .* 'mount-s3 bucket /mnt/bucket', and give /mnt/bucket/run to be read; what is"
        with pytest.raises(AddressError, match=told):
            call()


def test_a_variable_may_not_hold_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("HYBRID_JAX_DATA", "hdfs://node:9000/data")
    monkeypatch.setattr(sys, "argv", ["eval", "--ckpt", "r", "--tasks", "xquad_r"])
    assert import_module("hybrid_jax.eval.__main__").main() == 1
    assert capsys.readouterr().err == (
        "error: $HYBRID_JAX_DATA hdfs://node:9000/data is not a path of this machine: mount that storage or copy it, "
        "and give the path that it has on this machine\n"
    )
    monkeypatch.setattr(sys, "argv", ["data", "leakage", "--train", "$HYBRID_JAX_DATA/x.jsonl", "--eval", "demo"])
    assert import_module("hybrid_jax.data.__main__").main() == 2
    assert "error: hdfs://node:9000/data/x.jsonl is not a path" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("gs://bucket", "type 'gcsfuse --implicit-dirs bucket /mnt/bucket', and give /mnt/bucket"),
        ("file:///home/me/run", "give /home/me/run"),
        ("abfss://box@account/x", "mount that storage or copy it"),
        (Path("GS://bucket/x"), "give /mnt/bucket/x"),
    ],
)
def test_the_message_says_what_to_type(path: str | Path, advice: str):
    with pytest.raises(AddressError, match=r"^--out \w+://") as error:
        refuse_address(path, "--out")
    assert advice in str(error.value)


@pytest.mark.parametrize(
    "path", ["tfds:/a/folder", "hub:name/of", "demo", "a/b:c/d", Path("a/b:/c"), Path("c:/d"), "", "/a//b", "~/x"]
)
def test_paths_are_let_through(path: str | Path):
    refuse_address(path)
