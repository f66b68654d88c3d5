"""The config: YAML in and out, overrides, and errors that name the field, its value and what to write instead."""

import shutil
from pathlib import Path

import pytest

from hybrid_jax.config import Config, ConfigError, differences, dump_config, load_config, override, parse_config

MINILM = Path(__file__).resolve().parent / "fixtures" / "pretrained" / "minilm"
CONFIGS = sorted((Path(__file__).resolve().parents[1] / "configs").glob("*.yaml"))


def load(tmp_path: Path, text: str, *overrides: str) -> Config:
    (tmp_path / "run.yaml").write_text(text, encoding="utf-8")
    return load_config(tmp_path / "run.yaml", overrides)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_ours_are_valid_and_come_back_equal(path: Path):
    # Published weights need the network: a stored folder stands in for them, with texts as short as its positions.
    short = [f"--data.max_{side}_length=20" for side in ("query", "passage")]
    config = load_config(path, ["--pretrained", str(MINILM), *short] if "pretrained:" in path.read_text() else [])
    assert parse_config(dump_config(config)) == config


def test_every_kind_of_value_comes_back_equal():
    config = Config.model_validate(
        {
            "data": {"datasets": [{"name": "ä-free", "path": "größe.jsonl"}]}
            | {"datasets": [{"name": "a", "path": "größe.jsonl", "kinds": ["monolingual"], "languages": ["de", "en"]}]},
            "mixture": {"monolingual_fraction": [[0, 0.9], [100, 0.25]], "weights": {"cross_lingual": 2}},
            "optimizer": {"learning_rate": 1e-5, "clip_norm": None},
        }
    )
    text = dump_config(config)
    assert "größe" in text
    assert parse_config(text) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stepz: 3", "unknown field stepz: did you mean steps"),
        ("optimizer: {learning_rat: 1}", r"unknown field optimizer\.learning_rat: did you mean learning_rate"),
        ("model: {encoder: {hidden: 3}}", r"unknown field model\.encoder\.hidden: did you mean hidden_size"),
        ("data: {datasets: [{name: a, pathh: b}]}", r"unknown field data\.datasets\.0\.pathh: did you mean path"),
        ("data: {qqq: 1}", r"unknown field data\.qqq: known here: datasets, tokenizer"),
        ("steps: many", "steps = 'many': .*integer"),
        ("steps: 0", "steps = 0: .*greater than or equal to 1"),
        ("microbatch_rows: 0", "microbatch_rows = 0: give a number of rows, 1 or more; or auto; or null"),
        ("microbatch_rows: -3", "microbatch_rows = -3: give"),
        ("microbatch_rows: 1.5", r"microbatch_rows = 1\.5: give"),
        ("microbatch_rows: Auto", "microbatch_rows = 'Auto': give"),
        ("microbatch_rows: true", "microbatch_rows = True: give"),
        ("loss: {directions: left}", r"loss\.directions = 'left': .*'query_to_passage' or 'both'"),
        ("loss: {kl_weight: 0.2}", "reverse_weight 0.5 and kl_weight 0.2 are for directions both"),
        ("loss: {directions: both, reverse_weight: 0.9, kl_weight: 0.2}", "leave nothing to query_to_passage: lower"),
        ("checkpoint: {best_metric: los}", r"checkpoint\.best_metric = 'los': .*'loss'.*'heldout_map_multi"),
        ("mixture: {monolingual_fraction: 1.5}", "monolingual_fraction 1.5 must lie between 0 and 1"),
        ("data: {datasets: [{name: a, path: b, languages: [xx]}]}", r"data\.datasets\.0\.languages = .*'?xx'?"),
        ("- a list", "expected 'field: value' lines, found list"),
        ("", "expected 'field: value' lines, found nothing"),
        ("seed: [1", "not YAML"),
        ("!!python/object/apply:os.system ['true']", "not YAML"),
    ],
)
def test_a_bad_file_is_explained(tmp_path: Path, text: str, message: str):
    with pytest.raises(ConfigError, match=message) as raised:
        load(tmp_path, text)
    assert "run.yaml" in str(raised.value)
    assert all(line.startswith(str(tmp_path)) for line in str(raised.value).splitlines())


def test_a_renamed_field_is_refused_with_its_new_name(tmp_path: Path):
    old = dump_config(Config()).replace("_prompt:", "_prefix:")
    assert Config() == parse_config(old.replace("_prefix:", "_prompt:"))
    with pytest.raises(ConfigError) as raised:
        parse_config(old, "runs/old/config.yaml")
    assert str(raised.value) == (
        "runs/old/config.yaml: data.query_prefix is now data.query_prompt, data.passage_prefix is now "
        "data.passage_prompt: rename them in this file"
    )
    with pytest.raises(ConfigError, match=r"run\.yaml: .*query_prefix is now data\.query_prompt: rename it in"):
        load(tmp_path, "data: {query_prefix: 'q: '}")


def test_every_mistake_is_listed(tmp_path: Path):
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, "stepz: 1\nbatch_size: x\n")
    assert len(str(raised.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{data: {max_passage_length: 600}, model: {encoder: {max_length: 512}}}",
            "600 exceeds model.encoder.max_length 512",
        ),
        (
            "{steps: 10, optimizer: {warmup_steps: 11}}",
            "optimizer.warmup_steps 11 exceeds the run's 10 steps: set it",
        ),
        (
            "{divergence: {then: skip}, optimizer: {accumulate: 2}}",
            "divergence.then skip leaves out single batches, but optimizer.accumulate 2 makes one update of 2",
        ),
        ("{steps: 1001, optimizer: {accumulate: 2}}", "steps 1001 is not a multiple of optimizer.accumulate 2"),
        ("data: {heldout_pool: 5}", "data.heldout_pool 5 has no records: set data.heldout_fraction"),
        (
            "{data: {heldout_fraction: 0.1}, checkpoint: {best_metric: heldout_map_multilingual}}",
            "'heldout_map_multilingual' is never measured: set data.heldout_pool",
        ),
        ("checkpoint: {patience: 2}", "checkpoint.patience 2 counts held-out evaluations, .*'loss' is of training"),
        (
            "{data: {heldout_fraction: 0.1}, heldout_every: 20, checkpoint: {best_metric: heldout_loss, every: 40, "
            "patience: 2}}",
            "checkpoint.every 40 and heldout_every 20: .*: set both to the same number",
        ),
        ("heldout_every: 5", "heldout_every 5 has nothing to measure: set data.heldout_fraction"),
        (
            "{heldout_every: 0, checkpoint: {best_metric: heldout_loss}}",
            "'heldout_loss' is never measured: set heldout_every",
        ),
        (
            "{data: {heldout_fraction: 0.1}, heldout_every: 30, checkpoint: {best_metric: heldout_loss, every: 40}}",
            "checkpoint.every 40 is not a multiple of heldout_every 30",
        ),
        (
            "distillation: {weight: 0.8}",
            "distillation.weight 0.8 without .*: set distillation.store to .*, or leave weight",
        ),
        ("distillation: {form: cosine}", "distillation.form cosine without distillation.store does nothing"),
        ("distillation: {language: de}", "distillation.language de without distillation.store does nothing"),
        (
            "{batch_size: 10, mesh: {data: 2, fsdp: 2}}",
            "batch_size 10 with mesh.data 2 and mesh.fsdp 2 cannot be split over 4 devices",
        ),
    ],
)
def test_an_impossible_combination_is_explained(tmp_path: Path, text: str, message: str):
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, text)


def test_overrides_are_typed_and_checked(tmp_path: Path):
    config = load(tmp_path, "seed: 5", "--mixture.monolingual_fraction", "0.3", "--optimizer.learning-rate", "1e-4")
    assert (config.seed, config.mixture.monolingual_fraction, config.optimizer.learning_rate) == (5, 0.3, 1e-4)
    assert config.data == Config().data
    for text, rows in (("auto", "auto"), ("16", 16), ("None", None)):
        assert load(tmp_path, "microbatch_rows: 4", "--microbatch_rows", text).microbatch_rows == rows
    assert load(tmp_path, "microbatch_rows: auto").microbatch_rows == "auto"
    with pytest.raises(ConfigError, match=r"warmup_steps 6 exceeds the run's 5 steps"):
        load(tmp_path, "optimizer: {warmup_steps: 6}", "--steps", "5")
    taught = load(tmp_path, "distillation: {weight: 0.8}", "--distillation.store", "teacher.store").distillation
    assert (taught.weight, taught.store) == (0.8, "teacher.store")  # the file may leave the store to the command line


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(["--stepz", "3"], "--steps"), (["--steps", "many"], "many"), (["--stepz", "3"], "run train --help-config  ")],
)
def test_a_bad_override_ends_with_the_nearest_name(arguments: list[str], named: str, capsys):
    with pytest.raises(SystemExit) as ended:
        override(Config(), arguments, "train")
    assert ended.value.code == 2
    assert named in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--steps", "0"], "the command line: steps = 0: Input should be greater than or equal to 1"),
        (
            ["--microbatch_rows", "-3"],
            "the command line: microbatch_rows = -3: give a number of rows, 1 or more; or auto; or null for the whole "
            "batch",
        ),
        (["--model.encoder.num_heads", "3"], "the command line: num_heads 3 does not divide hidden_size 256"),
    ],
)
def test_a_refused_override_is_one_line(arguments: list[str], told: str, capsys):
    with pytest.raises(ConfigError) as refused:
        override(Config(), arguments, "train")
    assert (str(refused.value), capsys.readouterr().err) == (told, "")


def test_a_missing_file_names_the_nearest(tmp_path: Path):
    shutil.copy(CONFIGS[0], tmp_path / "small.yaml")
    with pytest.raises(ConfigError, match=r"no config file .*smal\.yaml: did you mean .*small\.yaml"):
        load_config(tmp_path / "smal.yaml")


def test_differences_name_field_and_both_values():
    one = Config()
    other = one.model_copy(
        update={"seed": 1, "log_every": 3, "loss": one.loss.model_copy(update={"directions": "both"})}
    )
    found = differences(one, other)
    assert found == ["seed: 0 -> 1", "loss.directions: query_to_passage -> both", "log_every: 10 -> 3"]
    assert differences(one, other, ["loss", "log_every"]) == found[:1]
    assert differences(one, one) == []


def test_fields_replace_those_of_the_file_as_if_it_had_them(tmp_path):
    text = "data: {datasets: [{name: a, path: x}, {name: b, path: y, languages: [de]}]}\noptimizer:\n"
    (tmp_path / "run.yaml").write_text(text, encoding="utf-8")
    fields = {"steps": 7, "optimizer.warmup_steps": 2, "data.datasets.1.languages": ["en", "es"], "loss": {}}
    expected = {
        "data": {"datasets": [{"name": "a", "path": "x"}, {"name": "b", "path": "y", "languages": ["en", "es"]}]}
    }
    expected |= {"steps": 7, "optimizer": {"warmup_steps": 2}}
    assert load_config(tmp_path / "run.yaml", fields=fields) == Config.model_validate(expected)
    assert load_config(tmp_path / "run.yaml", ["--steps", "9"], fields=fields).steps == 9


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("mixture.alpha", r"unknown field mixture\.alpha"),
        ("steps.x", r"unknown field steps\.x: steps is 9, which has no x"),
        ("data.datasets.1.path", r"data\.datasets is a list of 1, which has no 1"),
        ("data.datasets.a.path", r"data\.datasets is a list of 1, which has no a"),
    ],
)
def test_fields_that_do_not_exist_are_refused(tmp_path, field: str, message: str):
    (tmp_path / "run.yaml").write_text("steps: 9\ndata: {datasets: [{name: a, path: x}]}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_config(tmp_path / "run.yaml", fields={field: 1})
