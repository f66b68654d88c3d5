"""The languages curve: arms that grow by typological distance, and their scores on seen and unseen languages."""

from pathlib import Path
from typing import Any

import pytest

from hybrid_jax.ablate.arms import ArmError
from hybrid_jax.ablate.axis import axis_of
from hybrid_jax.ablate.curve import crossed, curve_arms, trained_languages
from hybrid_jax.ablate.plan import make_plan
from hybrid_jax.ablate.request import request
from hybrid_jax.ablate.typology import TypologyError, distance, in_order

ELEVEN = ["ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh"]


def dataset(name: str, languages: list[str] | None, kinds: list[str] | None = None) -> dict[str, Any]:
    return {"name": name, "path": f"{name}.jsonl", "languages": languages, "kinds": kinds}


def test_distances_are_those_of_uriel():
    """1 - cosine of lang2vec's syntax_knn, to two digits."""
    expected = {("de", "en"): 0.10, ("en", "es"): 0.18, ("th", "vi"): 0.10, ("tr", "vi"): 0.67, ("hi", "tr"): 0.34}
    assert {pair: round(distance(*pair), 2) for pair in expected} == expected
    assert distance("zh-Hant", "zho_Hans") == distance("en", "en") == 0
    assert distance("tr", "en") == distance("en", "tr")
    with pytest.raises(TypologyError, match=r"no typological features of 'tlh'.*--order FILE"):
        distance("en", "tlh")


def test_diverse_goes_far_and_similar_stays_near():
    diverse, similar = in_order(ELEVEN, True), in_order(ELEVEN, False)
    assert sorted(diverse) == sorted(similar) == ELEVEN
    assert diverse[:3] == ["en", "tr", "th"]
    assert similar[:4] == ["en", "de", "ru", "el"]
    assert in_order(["de", "th"], True)[0] == "de"
    for ordered, best in ((diverse, max), (similar, min)):
        for place in range(1, 11):
            gaps = {one: min(distance(one, before) for before in ordered[:place]) for one in ordered[place:]}
            assert gaps[ordered[place]] == pytest.approx(best(gaps.values()), abs=1e-9)


def test_an_arm_has_the_first_languages_of_each_dataset_that_still_has_pairs():
    datasets = [dataset("all", ELEVEN), dataset("few", ["de", "th", "vi"]), dataset("own", ["de"], ["monolingual"])]
    arms = curve_arms([2, 11], "similar", datasets)
    assert [arm.name for arm in arms] == ["languages=2", "languages=11"]
    two = arms[0].overrides["data.datasets"]
    assert [(part["name"], part["languages"]) for part in two] == [("all", ["en", "de"]), ("own", ["de"])]
    assert [part["name"] for part in arms[1].overrides["data.datasets"]] == ["all", "few", "own"]
    assert trained_languages(arms[0]) == ["en", "de"]
    axis = axis_of(arms)
    assert axis.label == "training languages"
    assert [label for _, label in axis.ticks] == ["2", "11"]


def test_a_file_orders_languages_that_datasets_need_not_name(tmp_path: Path):
    (tmp_path / "order.txt").write_text("th\nen\nde\n")
    arms = curve_arms([2, 3], str(tmp_path / "order.txt"), [dataset("all", None)])
    assert [trained_languages(arm) for arm in arms] == [["th", "en"], ["th", "en", "de"]]


def test_a_file_may_spell_languages_as_people_do(tmp_path: Path):
    (tmp_path / "order.txt").write_text("eng\nzh-CN\ndeu\n")
    arms = curve_arms([2, 3], str(tmp_path / "order.txt"), [dataset("all", ["de", "en", "zh"])])
    assert [trained_languages(arm) for arm in arms] == [["en", "zh"], ["en", "zh", "de"]]
    (tmp_path / "order.txt").write_text("en\nde\nxx1\n")
    with pytest.raises(ArmError, match=r"unknown language code 'xx1'.*: give diverse"):
        curve_arms([2], str(tmp_path / "order.txt"), [dataset("all", ["de", "en"])])


def test_a_size_whose_languages_would_not_all_be_trained_on_is_refused(tmp_path: Path):
    datasets = [dataset("a", ["en", "de"]), dataset("b", ["tr", "fr"])]
    (tmp_path / "order.txt").write_text("en\ntr\nfr\nde\n")
    with pytest.raises(ArmError, match=r"--languages-curve 2: no dataset has en, tr with another of its 2 "):
        curve_arms([2, 4], str(tmp_path / "order.txt"), datasets)
    with pytest.raises(ArmError, match=r"--languages-curve 3: no dataset has en with another .*\(en, tr, fr\): leave"):
        curve_arms([3], str(tmp_path / "order.txt"), datasets)
    assert trained_languages(*curve_arms([4], str(tmp_path / "order.txt"), datasets)) == ["en", "de", "tr", "fr"]


@pytest.mark.parametrize(
    ("sizes", "order", "languages", "message"),
    [
        ([1, 2], "diverse", ["en", "de"], r"--languages-curve 1,2: give growing numbers from 2 to 2, .*\(en, de\)"),
        ([2, 3], "diverse", ["en", "de"], "--languages-curve 2,3: give growing"),
        ([3, 2], "diverse", ELEVEN, "--languages-curve 3,2: give growing"),
        ([2], "similar", None, "--order similar: dataset 'a' does not name its languages: list them"),
        ([2], "nowhere.txt", ["en", "de"], "--order nowhere.txt: No such file or directory: give diverse, similar, or"),
    ],
)
def test_a_curve_that_cannot_be_is_one_line(sizes: list[int], order: str, languages: list[str] | None, message: str):
    with pytest.raises(ArmError, match=message):
        curve_arms(sizes, order, [dataset("a", languages)])


def test_a_request_is_planned_alone_and_crossed_with_other_arms():
    content = {
        "config": "configs/demo.yaml",
        "set": {"data.datasets.0.languages": ["en", "de", "tr", "zh"]},
        "languages_curve": ["2", "4"],
    }
    plan, configs = make_plan(request(content, "options"), "made up")
    assert [arm.name for arm in plan.arms] == ["languages=2", "languages=4"]
    assert configs["languages=2"].data.datasets[0].languages == ("en", "tr")
    assert [sentence.split()[0] for sentence in plan.unequal] == ["data.datasets"]
    plan, configs = make_plan(request({**content, "arms": ["x-y", "hybrid"], "order": "similar"}, "options"), "made up")
    assert [arm.name for arm in plan.arms] == [f"{arm}_languages={n}" for n in (2, 4) for arm in ("x-y", "hybrid")]
    assert configs["x-y_languages=2"].data.datasets[0].languages == ("en", "de")
    assert configs["x-y_languages=2"].mixture.monolingual_fraction == 0
    assert crossed(plan.arms, []) == plan.arms
    wide = {"arms": [{"wide": {"data.datasets.0.kinds": ["monolingual"]}}, "x-y"]}
    with pytest.raises(ArmError, match=r"arm 'wide' sets data\.datasets\.0\.kinds, which --languages-curve sets"):
        make_plan(request({**content, **wide}, "options"), "made up")
