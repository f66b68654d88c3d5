"""A search makes ordinary runs, goes on where it was stopped, repeats no trial, and refuses what cannot compare."""

import csv
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna")

from hybrid_jax.ablate import search as searching
from hybrid_jax.ablate.__main__ import main
from hybrid_jax.ablate.folder import SweepError
from hybrid_jax.ablate.request import Request, RequestError, parse_ranges
from hybrid_jax.ablate.search import make_plan, read_search, search
from hybrid_jax.ablate.trials import Trial, write_trials
from hybrid_jax.config import ConfigError, parse_config

RANGES = {"optimizer.learning_rate": "1e-4:1e-1:log", "model.pooling": ["mean", "cls"]}
SET = {"steps": 2, "heldout_every": 2, "heldout_batches": 1, "data.heldout_fraction": 0.25, "mesh": {"data": 1}}
SET |= {"optimizer.warmup_steps": 1, "checkpoint": {"every": 2, "best_metric": "loss"}}


@pytest.fixture
def config(tiny_run: Any, tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(tiny_run.yaml)
    return path


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.timeout(300)
def test_a_search_is_runs_by_the_ordinary_command_and_goes_on_to_a_larger_number(config: Path, tmp_path: Path):
    folder, said = tmp_path / "search", list[str]()
    search(folder, make_plan(Request(config=config, set=SET, search=1, ranges=RANGES), "the command"), said.append)
    assert said[0].startswith("trial 0000, 1 of 1: held-out accuracy ")
    assert said[-2].startswith("best: trial 0000, held-out accuracy ")
    log = folder / "trials" / "0000" / "train.log"
    written = log.stat().st_mtime_ns

    # The second trial was proposed, and its process killed before it wrote anything.
    plan = make_plan(Request(config=config, set=SET, search=2, ranges=RANGES), "the command")
    proposed = searching._study(folder)
    number = searching._next(proposed, plan)
    assert number == 1
    config.unlink()  # trials are made from the base config as it was
    search(folder, plan, said.append)
    assert log.stat().st_mtime_ns == written
    assert sorted(path.name for path in (folder / "trials").iterdir()) == ["0000", "0001"]
    values = proposed.trials[1].params
    of_run = parse_config((folder / "trials" / "0001" / "config.yaml").read_text())
    assert (of_run.optimizer.learning_rate, of_run.model.pooling) == tuple(values[field] for field in RANGES)

    listed = rows(folder)
    assert [float(row["heldout_accuracy"]) for row in listed] == sorted(
        (float(row["heldout_accuracy"]) for row in listed), reverse=True
    )
    for row in listed:
        lines = (folder / "trials" / f"{int(row['trial']):04d}" / "metrics.jsonl").read_text().splitlines()
        assert float(row["heldout_accuracy"]) == json.loads(lines[-1])["heldout_accuracy"]
        assert f"{float(row['heldout_accuracy']):.4f}" in (folder / "page" / "index.html").read_text()
    assert read_search(folder) == plan


def test_proposals_depend_on_the_seed_and_the_number_alone(config: Path, tmp_path: Path):
    plan = make_plan(Request(config=config, set=SET, search=4, ranges=RANGES), "")
    proposed = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for _ in range(4):
            study = searching._study(tmp_path / name)  # opened anew, as after a stop
            number = searching._next(study, plan)
            assert number is not None
            searching._tell(study, number, 0.5)
        trials = searching._trials(searching._study(tmp_path / name))
        proposed.append([trial.fields for trial in trials])
        assert searching._next(searching._study(tmp_path / name), plan) is None
    assert proposed[0] == proposed[1]
    rates = [fields["optimizer.learning_rate"] for fields in proposed[0]]
    assert len(set(rates)) == 4
    assert all(1e-4 <= rate <= 1e-1 for rate in rates)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search": 0}, "a search needs a number of trials and a range"),
        ({"ranges": {}}, "a search needs a number of trials and a range"),
        ({"grid": {"steps": [1, 2]}}, "--search has no grid, arms, seeds, tasks, baseline or debiasing"),
        ({"seeds": 3}, "--search has no grid, arms, seeds, tasks, baseline or debiasing"),
        ({"tasks": ["xquad_r"]}, "--search has no grid, arms, seeds, tasks, baseline or debiasing"),
        ({"ranges": {"mixture.group_size": "2:8"}}, "held-out accuracies would not compare between its values"),
        ({"ranges": {"steps": "2:8"}}, "no field to search"),
        ({"ranges": {"log_every": "2:8"}}, "no field to search"),
        ({"set": {}, "config": "demo"}, "there is none: set --heldout_every"),
        ({"ranges": {"model.temperature": "2:1"}}, "give LOW:HIGH with LOW < HIGH"),
        ({"ranges": {"model.temperature": "0:1:log"}}, "give LOW:HIGH with LOW < HIGH"),
        ({"ranges": {"model.temperature": "0.1:1:linear"}}, "give LOW:HIGH with LOW < HIGH"),
        ({"ranges": {"model.pooling": ["mean"]}}, "give two or more choices"),
    ],
)
def test_what_a_search_cannot_obey_is_one_line(config: Path, changes: dict[str, Any], message: str):
    demo = Path(__file__).resolve().parents[2] / "configs" / "demo.yaml"
    changes = changes | ({"config": demo} if changes.get("config") else {})
    with pytest.raises(RequestError) as error:
        make_plan(Request.model_validate({"config": config, "set": SET, "search": 2, "ranges": RANGES} | changes), "")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_field_or_an_end_that_the_config_refuses_is_found_before_any_run(config: Path):
    for field, low, message in (
        ("optimizer.lr", 1.0, "unknown field optimizer.lr"),
        ("optimizer.learning_rate", -1.0, "learning_rate = -1.0: "),
    ):
        with pytest.raises(ConfigError, match=message):
            make_plan(Request(config=config, set=SET, search=2, ranges={field: f"{low}:2.0"}), "")


def test_another_search_or_a_sweep_in_the_folder_is_refused(config: Path, tmp_path: Path):
    plan = make_plan(Request(config=config, set=SET, search=2, ranges=RANGES), "")
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "search.json").write_text(plan.model_dump_json())
    other = plan.model_copy(update={"ranges": {"model.temperature": "0.1:1"}})
    with pytest.raises(SweepError, match=r"holds another search \(ranges differs\): give its own options"):
        search(tmp_path / "s", other, pytest.fail)
    (tmp_path / "s" / "sweep.json").write_text("{}")
    with pytest.raises(SweepError, match="holds a sweep, no search"):
        search(tmp_path / "s", plan, pytest.fail)


def test_a_failed_trial_is_listed_last(tmp_path: Path):
    trials = [
        Trial(2, 0.75, {"a": 1e-5, "b": "<x>"}),
        Trial(0, 0.5, {"a": 0.1, "b": "y"}),
        Trial(1, None, {"a": 1, "b": "z"}),
    ]
    source = write_trials(tmp_path, trials, "python").read_text()
    assert [row["trial"] for row in rows(tmp_path)] == ["0002", "0000", "0001"]
    assert [source.index(shown) for shown in (">0.7500<", ">0.5000<", ">failed<")] == sorted(
        source.index(shown) for shown in (">0.7500<", ">0.5000<", ">failed<")
    )
    assert "1e-05" in source
    assert "&lt;x&gt;" in source


def test_ranges_of_the_command_line():
    assert parse_ranges(["a.b=1e-5:1:log", "c=[mean, cls]"]) == {"a.b": "1e-5:1:log", "c": ["mean", "cls"]}
    for wrong in (["a"], ["=1:2"], ["a="], ["a=1:2", "a=1:3"], ["a=[1"]):
        with pytest.raises(RequestError, match=r"^--range "):
            parse_ranges(wrong)


@pytest.mark.parametrize("option", ["--dry-run", "--page-only", "--data-dir=data", "--allow-leakage"])
def test_the_command_refuses_what_is_of_sweeps(
    option: str, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    options = ["--config", str(config), "--search", "2", "--range", "model.pooling=[mean,cls]", option]
    monkeypatch.setattr(sys, "argv", ["ablate", "--workdir", str(tmp_path / "s"), *options])
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    assert main() == 1
    instead = "writes its page after each trial" if option.endswith("-only") or "dry" in option else "evaluates on held"
    assert capsys.readouterr().err.startswith(f"error: {option.partition('=')[0]} is for sweeps: a search {instead}")


def test_the_sampler_is_told_that_more_is_better(tmp_path: Path):
    study = searching._study(tmp_path)
    for value in (0.25, 0.75):
        searching._tell(study, study.ask().number, value)
    assert study.best_value == 0.75
