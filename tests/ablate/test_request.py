"""A sweep's file and options: what they mean, and one line for each mistake."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from support.made_up_plan import made_up_arm, made_up_plan
from support.tokenizer_folders import wordpiece
from transformers import BertConfig

from hybrid_jax.ablate.arms import ArmError
from hybrid_jax.ablate.folder import Run, SweepError
from hybrid_jax.ablate.plan import make_plan, write
from hybrid_jax.ablate.request import (
    RequestError,
    parse_fields,
    parse_grid,
    parse_seeds,
    read_sweep,
    request,
    with_own_arms,
)
from hybrid_jax.ablate.summary import compare_command
from hybrid_jax.config import ConfigError, dump_config, parse_config

ROOT = Path(__file__).resolve().parents[2]
SWEEPS = sorted((ROOT / "configs" / "sweeps").glob("*.yaml"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.b=0,0.5,1", {"a.b": [0, 0.5, 1]}),
        ("a=[de,en],[de]", {"a": [["de", "en"], ["de"]]}),
        ("a=mean,null,true", {"a": ["mean", None, True]}),
        ("a=[[0, 1.0], [9, 0.0]],0.5", {"a": [[[0, 1.0], [9, 0.0]], 0.5]}),
        ("a=x=y", {"a": ["x=y"]}),
    ],
)
def test_a_grid_s_values_are_a_yaml_list_without_brackets(text: str, expected: Any):
    assert parse_grid([text]) == expected


@pytest.mark.parametrize("texts", [["a"], ["a="], ["=1"], ["a=[1"], ["a=1", "a=2"]])
def test_other_grids_are_one_line(texts: list[str]):
    with pytest.raises(RequestError, match=r"^--grid ") as error:
        parse_grid(texts)
    assert "\n" not in str(error.value)


def test_words_are_fields_for_all_arms():
    words = ["--steps", "9", "--optimizer.learning_rate=1e-3", "--mixture.weights", "null", "--seed", "-1"]
    expected = {"steps": 9, "optimizer.learning_rate": "1e-3", "mixture.weights": None, "seed": -1}
    assert parse_fields(words) == expected


@pytest.mark.parametrize("words", [["steps", "9"], ["--steps"], ["--steps", "--seed"], ["--"]])
def test_other_words_are_refused(words: list[str]):
    with pytest.raises(RequestError, match="give an option"):
        parse_fields(words)


def test_seeds_are_how_many_or_which():
    assert [parse_seeds(text) for text in ("3", "0,7", "4,")] == [3, [0, 7], [4]]
    with pytest.raises(RequestError, match="how many"):
        parse_seeds("three")


def test_arms_chosen_by_name_keep_the_definition_of_the_file():
    both = {"both": {"loss.directions": "both"}}
    assert with_own_arms(["x-y", "both"], ["hybrid", both, {"half": {}}]) == ["x-y", both]
    assert with_own_arms(["x-y", "both"], "both") == ["x-y", "both"]  # a wrong file is `request`'s to refuse


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"grids": {}}, "unknown field grids: known are config, set, grid"),
        ({"grid": {"steps": 3}}, "grid.steps = 3"),
        ({"grid": {"steps": []}}, "grid steps has no values"),
        ({"grid": {"steps": [3]}, "set": {"steps": 4}}, "steps is both set for all arms and varied"),
        ({"grid": {"steps": [3]}, "order": "similar"}, "order is of a languages curve: give --languages-curve"),
        ({"seeds": 0}, "seeds 0: give 1 or more"),
        ({"seeds": [1, 1]}, "a list of different seeds"),
        ({"tasks": []}, "tasks = "),
        ({"arms": [{"mine": 3}]}, "arms"),
        ({"arms": [{"big": {"steps": 3}}, "x-y", {"big": {"steps": 4}}]}, "two arms are called 'big': give different"),
    ],
)
def test_a_wrong_field_is_named(content: dict[str, Any], message: str):
    with pytest.raises(RequestError, match=r"^sweep\.yaml: ") as error:
        request(content, "sweep.yaml")
    assert message in str(error.value)


@pytest.mark.parametrize("text", ["- a list", "", "grid: [", "!!python/object/apply:os.system ['true']"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str):
    (tmp_path / "sweep.yaml").write_text(text)
    with pytest.raises(RequestError, match=r"sweep\.yaml"):
        read_sweep(tmp_path / "sweep.yaml")
    with pytest.raises(RequestError, match=r"no sweep file .*has .*sweep\.yaml"):
        read_sweep(tmp_path / "sweeps.yaml")


def test_baselines_are_none_one_or_several_names():
    for given, expected in ((None, []), ("a", ["a"]), (["b", "a"], ["b", "a"])):
        asked = request({"config": "c.yaml", "baseline": given}, "sweep.yaml")
        assert asked.baseline == expected
        plan = made_up_plan([made_up_arm("a"), made_up_arm("b")], baseline=asked.baseline)
        assert plan.baselines == (expected or ["a"])
        folders = [Run(name, 0, Path(name)) for name in "ab"]
        first, second = ("b", "a") if expected == ["b", "a"] else ("a", "b")
        assert compare_command(folders, plan) == f"python -m hybrid_jax.eval compare {first}={first} {second}={second}"


def test_a_baseline_that_is_crossed_is_one_in_every_group(tmp_path: Path):
    base = tmp_path / "base.yaml"
    base.write_text("steps: 20\n")
    content = {"config": str(base), "arms": ["hybrid", "x-y"], "grid": {"steps": [10, 20]}, "baseline": "hybrid"}
    plan = make_plan(request(content, "sweep.yaml"), "command").plan
    assert plan.baselines == ["hybrid_steps=10", "hybrid_steps=20"]
    assert [plan.tested(name) for name in plan.baselines] == [["x-y_steps=10"], ["x-y_steps=20"]]
    wrong = content | {"baseline": ["hybrid", "hybrid_steps=10"]}
    with pytest.raises(ArmError, match=r"baseline 'hybrid_steps=10' is given twice"):
        make_plan(request(wrong, "sweep.yaml"), "command")


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_ours_can_be_planned(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    asked = request(read_sweep(path), str(path))
    if "pretrained" in asked.set:  # a model that commands in the file's first lines make; here a small one
        rows = wordpiece(tmp_path, ["a house by the river"] * 9, lower=True)
        BertConfig(vocab_size=rows, hidden_size=16, num_attention_heads=2, intermediate_size=32).save_pretrained(
            tmp_path
        )
        asked.set["pretrained"], asked.set["model.pooling"] = str(tmp_path), "mean"
    plan = make_plan(asked, "").plan
    assert plan.baseline == plan.baselines
    assert f"--sweep configs/sweeps/{path.name} " in path.read_text()
    said = {"steps": ("steps differs", "The arms train on different numbers of pairs")}
    expected = ["The mixtures differ", *(start for field in asked.grid for start in said.get(field, ()))]
    expected += ["data.datasets differs between the arms (languages=2: docs (en, tr);"] if asked.languages_curve else []
    assert all(sentence.startswith(tuple(expected)) for sentence in plan.unequal)


def test_the_docstring_s_example_is_a_request():
    from hybrid_jax.ablate import request as module

    assert module.__doc__
    asked = request(yaml.safe_load(module.__doc__.partition("\n\n")[2]), "docstring")
    assert asked.named == ["x-x"]
    assert asked.own == {"both": {"loss.directions": "both"}}


@pytest.mark.parametrize(("set_to", "expected"), [(None, "float32"), ("bfloat16", "bfloat16")])
def test_a_dtype_that_nobody_set_is_the_same_on_every_machine(set_to: str | None, expected: str, tmp_path: Path):
    base = tmp_path / "base.yaml"
    base.write_text("steps: 20\n")
    fields = {} if set_to is None else {"model.encoder.dtype": set_to}
    planned = make_plan(
        request({"config": str(base), "grid": {"batch_size": [8, 16]}, "set": fields}, "sweep.yaml"), "command"
    )
    assert {config.model.encoder.dtype for config in planned.configs.values()} == {expected}
    assert planned.plan.base["model"]["encoder"]["dtype"] == expected


def test_a_sweep_goes_on_with_the_rows_that_its_runs_took_for_auto(tmp_path: Path):
    base, sweep = tmp_path / "base.yaml", tmp_path / "sweep"
    base.write_text("steps: 20\nmicrobatch_rows: auto\n")
    planned = make_plan(request({"config": str(base), "grid": {"batch_size": [8, 16]}}, "sweep.yaml"), "command")
    write(sweep, planned)
    run = next(path for path in sorted(sweep.rglob("config.yaml")))
    settled = parse_config(run.read_text()).model_copy(update={"microbatch_rows": 4})
    run.write_text(dump_config(settled))
    write(sweep, planned)
    assert parse_config(run.read_text()) == settled
    for text in (dump_config(settled.model_copy(update={"steps": 21})), "["):
        run.write_text(text)
        with pytest.raises(SweepError, match="is not the config of this run"):
            write(sweep, planned)


def test_a_sweep_refuses_early_stopping(tmp_path: Path):
    base = tmp_path / "base.yaml"
    base.write_text("{data: {heldout_fraction: 0.1}, checkpoint: {best_metric: heldout_loss, patience: 2}}\n")
    asked = request({"config": str(base), "grid": {"batch_size": [8, 16]}}, "sweep.yaml")
    with pytest.raises(ConfigError, match=r"checkpoint.patience 2 would end runs at different steps.*patience 0"):
        make_plan(asked, "command")
