"""The comparison: right verdicts on systems whose difference is known, and a refusal of what cannot be compared."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hybrid_jax.eval.compare import compare, main, parse_systems, verdict
from hybrid_jax.eval.comparison import Comparison, MetricRow, text
from hybrid_jax.eval.measures import stats
from hybrid_jax.eval.measures.holm import holm
from hybrid_jax.eval.measures.per_query import Table, write

BETTER, WORSE, NO_EVIDENCE = "better", "worse", "no evidence"
RANK_DISTANCE = "rank_distance"
LANGUAGES = ("de", "en", "th")
QUESTIONS = 80


def table(seed: int, gain: float = 0.0, *, distance: float = 0.0, run: float = 0.0) -> Table:
    """Questions of known difficulty; `gain` and `distance` move a system's mAP and rank distance, `run` its luck."""
    difficulty = np.random.default_rng(0).uniform(0.2, 0.8, (1, QUESTIONS, 1))
    rng = np.random.default_rng(seed + 1)
    level = difficulty + gain + run * rng.standard_normal()
    values = level + 0.02 * rng.standard_normal((len(LANGUAGES), QUESTIONS, len(LANGUAGES)))
    across = values.reshape(-1, len(LANGUAGES)).copy()
    own = np.repeat(np.eye(len(LANGUAGES), dtype=bool), QUESTIONS, axis=0)
    across[own] = np.nan
    return Table(
        data_sha256={"xquad-r/de.json": "0" * 64, "xquad-r/en.json": "1" * 64},
        ids=tuple(str(number) for number in range(QUESTIONS)) * len(LANGUAGES),
        languages=tuple(np.repeat(LANGUAGES, QUESTIONS).tolist()),
        candidate_languages=LANGUAGES,
        monolingual={"map": values.reshape(-1, len(LANGUAGES))[own]},
        cross_lingual={"map": across},
        multilingual={
            "map": values[:, :, 0].ravel(),
            "rank_distance": 100 + distance + 10 * rng.standard_normal(QUESTIONS * len(LANGUAGES)),
        },
    )


@pytest.fixture
def save(tmp_path: Path):
    """Writes a run that was evaluated into its default folder, and returns the run's folder."""

    def save_run(name: str, **tables: Table) -> str:
        write(tmp_path / name / "eval" / "per_query.npz", tables)
        return str(tmp_path / name)

    return save_run


def rows_of(result: Comparison, task: str = "xquad_r") -> dict[tuple[str, str], MetricRow]:
    return {(row.metric, row.setting): row for row in result.tasks[task].rows}


def verdicts(result: Comparison, name: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for (metric, _), row in rows_of(result).items():
        found.setdefault(metric, set()).add(row.against_baseline[name].verdict)
    return found


def test_verdicts_on_systems_whose_difference_is_known():
    systems = {
        "A": [{"xquad_r": table(0)}],
        "B": [{"xquad_r": table(1, 0.05, distance=20)}],
        "C": [{"xquad_r": table(2, -0.05, distance=-20)}],
        "luck": [{"xquad_r": table(3)}],
    }
    result = compare(systems)
    assert verdicts(result, "B") == {"map": {BETTER}, "rank_distance": {WORSE}}  # farther apart is worse
    assert verdicts(result, "C") == {"map": {WORSE}, "rank_distance": {BETTER}}
    assert verdicts(result, "luck") == {"map": {NO_EVIDENCE}, "rank_distance": {NO_EVIDENCE}}
    for row in rows_of(result).values():
        against = row.against_baseline["B"]
        assert against.low <= (0.05 if row.metric == "map" else 20) <= against.high
        gap = row.systems["B"].estimate - row.systems["A"].estimate
        assert against.difference == pytest.approx(gap, abs=1e-12)
        # The questions' difficulty is common to both systems: comparing question by question cancels it.
        if row.metric == "map":
            width = row.systems["A"].high - row.systems["A"].low
            assert against.high - against.low < width / 4
    p = [against.p for row in rows_of(result).values() for against in row.against_baseline.values()]
    found = [against.p_holm for row in rows_of(result).values() for against in row.against_baseline.values()]
    assert found == holm(p)
    assert len(p) == 12


def test_estimates_are_the_macro_means():
    ours = table(0)
    result = compare({"A": [{"xquad_r": ours}], "B": [{"xquad_r": table(1)}]})
    per_language = ours.monolingual["map"].reshape(len(LANGUAGES), QUESTIONS).mean(axis=1)
    found = rows_of(result)[("map", "monolingual")].systems["A"]
    assert found.estimate == pytest.approx(per_language.mean(), abs=1e-12)
    assert found.low < found.estimate < found.high
    assert result.tasks["xquad_r"].queries == 240
    assert result.tasks["xquad_r"].questions == 80


def test_seeds_that_differ_withhold_a_verdict_that_one_run_each_would_give():
    # Equal recipes, lucky and unlucky runs: the best run of one and the worst of the other differ without a doubt.
    ours, theirs = ([table(10 * system + seed, run=0.1) for seed in range(3)] for system in (1, 2))

    def level(run: Table) -> float:
        return stats.macro_mean(run.by_question("multilingual", "map"))

    best, worst = max(ours + theirs, key=level), min(ours + theirs, key=level)
    asked = {"metrics": ["map"]}
    alone = compare({"A": [{"xquad_r": worst}], "B": [{"xquad_r": best}]}, **asked)
    assert verdicts(alone, "B") == {"map": {BETTER}}
    assert "one run of A, B" in alone.notes[0]
    together = compare({"A": [{"xquad_r": t} for t in ours], "B": [{"xquad_r": t} for t in theirs]}, **asked)
    assert verdicts(together, "B") == {"map": {NO_EVIDENCE}}
    assert together.systems == {"A": 3, "B": 3}
    assert together.notes == []


@pytest.mark.parametrize(
    ("metric", "low", "high", "p", "expected"),
    [
        ("map", 0.1, 0.2, 0.01, BETTER),
        ("map", -0.2, -0.1, 0.01, WORSE),
        ("rank_distance", -9.0, -1.0, 0.01, BETTER),
        ("rank_distance", 1.0, 9.0, 0.01, WORSE),
        ("map", 0.1, 0.2, 0.05, NO_EVIDENCE),  # significant alone, not among the others
        ("map", -0.1, 0.2, 0.01, NO_EVIDENCE),
        ("map", 0.0, 0.0, 0.01, NO_EVIDENCE),
        ("first_right_other", 0.1, 0.2, 0.01, "higher"),  # no side of it is better
        ("first_right_other", -0.2, -0.1, 0.01, "lower"),
        ("first_right_other", 0.1, 0.2, 0.05, NO_EVIDENCE),
    ],
)
def test_a_verdict_needs_both_the_interval_and_the_p(metric, low, high, p, expected):
    assert verdict(metric, low, high, p) == expected


def test_files_of_the_same_folders_are_the_same_runs_in_any_order(save, tmp_path, capsys):
    runs = [save(f"s{seed}", xquad_r=table(seed, 0.1 * seed)) for seed in range(3)]
    for seed in range(3):  # hardly anything is done to runs that differ much
        write(tmp_path / f"s{seed}" / "eval" / "per_query-lsar.npz", {"xquad_r": table(seed, 0.1 * seed + 0.01)})
    printed = []
    for order in ((0, 1, 2), (2, 0, 1)):
        files = ",".join(f"{runs[seed]}/eval/per_query-lsar.npz" for seed in order)
        assert main([f"raw={','.join(runs)}", f"lsar={files}", "--metrics", "map"]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert "note: lsar: the same runs as raw, so each is compared with itself" in printed[0]
    assert printed[0].count("better") == 3
    part = ",".join([save("other", xquad_r=table(7, 0.3)), *(f"{run}/eval/per_query-lsar.npz" for run in runs[1:])])
    assert main([f"raw={','.join(runs)}", f"other={part}", "--metrics", "map"]) == 0
    assert "compared with itself" not in capsys.readouterr().out
    for name in ("mono-0", "mono-1", "hybrid-0", "hybrid-1"):  # copies of several runs' files in one folder
        write(tmp_path / "copies" / f"{name}.npz", {"xquad_r": table(0)})
    copies = [",".join(f"{tmp_path}/copies/{name}-{seed}.npz" for seed in (0, 1)) for name in ("mono", "hybrid")]
    assert main([f"mono={copies[0]}", f"hybrid={copies[1]}", "--metrics", "map"]) == 0
    assert "compared with itself" not in capsys.readouterr().out


def test_the_command_prints_tables_and_verdicts_and_writes_json(save, tmp_path, capsys):
    runs = [save(f"b_s{seed}", xquad_r=table(seed + 1, 0.05)) for seed in range(3)]
    out = tmp_path / "new" / "comparison.json"
    arguments = [save("mono", xquad_r=table(0)), f"hybrid={','.join(runs)}", "--json", str(out)]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    result = Comparison.model_validate_json(out.read_text(encoding="utf-8"))
    assert printed.out == text(result)
    assert result.runs["mono"] == [str(tmp_path / "mono" / "eval" / "per_query.npz")]
    assert len(result.runs["hybrid"]) == 3
    lines = printed.out.splitlines()
    assert lines[0] == "xquad_r: 240 queries, 80 questions; 95 % intervals"
    assert "hybrid (3 runs) against mono, difference and p (Holm, 4 tests):" in lines
    row = rows_of(result)[("map", "cross_lingual")]
    mean, found = row.systems["mono"], row.against_baseline["hybrid"]
    assert f"{mean.estimate:.4f} [{mean.low:.4f}, {mean.high:.4f}]" in printed.out
    (line,) = [line for line in lines if line.startswith("  mAP") and "Cr." in line and BETTER in line]
    assert f"{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]" in line
    assert "p " in line
    assert lines[-1].startswith("note: one run of mono: taken as that checkpoint")


def test_less_asked_is_less_corrected(save, capsys):
    systems = {"A": [{"xquad_r": table(0)}], "B": [{"xquad_r": table(1, 0.003)}]}
    everything = compare(systems)
    asked = compare(systems, metrics=["map"], tasks=["xquad_r"])
    assert [row.metric for row in asked.tasks["xquad_r"].rows] == ["map"] * 3
    ours, theirs = (rows_of(r)[("map", "multilingual")].against_baseline["B"] for r in (asked, everything))
    assert ours.p == theirs.p
    assert ours.p_holm < theirs.p_holm
    a, b = save("a", xquad_r=table(0), other=table(0)), save("b", xquad_r=table(1))
    assert main([a, b, "--metrics", "rank_distance"]) == 0
    printed = capsys.readouterr().out
    assert "mAP" not in printed
    assert "note: left out, since not every run has it: other" in printed


def test_many_tests_do_not_put_a_verdict_out_of_reach(monkeypatch):
    # As if one swap were enough for one test: without more of them no p could be below 1 / 2.
    monkeypatch.setattr(stats, "SWAPS", 1)
    result = compare({"A": [{"xquad_r": table(0)}], "B": [{"xquad_r": table(1, 0.1, distance=50)}]})
    assert verdicts(result, "B") == {"map": {BETTER}, "rank_distance": {WORSE}}


def on_paragraphs(of: Table, each: int) -> Table:
    """The questions on paragraphs with so many questions each, in both languages."""
    return replace(of, paragraphs=tuple(f"p{int(name) // each}" for name in of.ids))


def test_questions_on_one_paragraph_are_one_draw():
    """Of systems that differ by paragraph: 16 of them say less than 80 questions would."""
    luck = np.random.default_rng(5).standard_normal(QUESTIONS // 5).repeat(5)
    by_paragraph = 0.03 + 0.05 * (luck - luck.mean())
    other = table(1)
    other = replace(other, multilingual={"map": other.multilingual["map"] + np.tile(by_paragraph, len(LANGUAGES))})
    widths = {}
    for each in (1, 5):
        systems = {name: [{"xquad_r": on_paragraphs(run, each)}] for name, run in (("A", table(0)), ("B", other))}
        result = compare(systems, metrics=["map"], parts=["multilingual"])
        found = rows_of(result)["map", "multilingual"].against_baseline["B"]
        task = result.tasks["xquad_r"]
        assert (task.questions, task.units) == (QUESTIONS, QUESTIONS // each)
        widths[each] = found.high - found.low
        groups = f"{QUESTIONS} questions in {QUESTIONS // 5} groups by paragraph; 95 % intervals"
        assert (groups in text(result)) == (each == 5)
    # As an intraclass correlation near 1 widens the standard error: by the root of 5.
    assert widths[5] / widths[1] == pytest.approx(np.sqrt(5), rel=0.2)


def test_different_paragraphs_are_refused():
    with pytest.raises(ValueError, match=r"different queries \(they belong to different paragraphs\)"):
        compare({"A": [{"x": on_paragraphs(table(0), 2)}], "B": [{"x": on_paragraphs(table(1), 5)}]})


def test_a_metric_that_a_run_lacks_is_left_out_aloud():
    ours = table(0)
    older = replace(table(1), multilingual={"map": table(1).multilingual["map"]})
    result = compare({"A": [{"xquad_r": ours}], "B": [{"xquad_r": older}]})
    assert {metric for metric, _ in rows_of(result)} == {"map"}
    assert "left out of xquad_r, since not every run has it: rank_distance" in result.notes


def test_a_task_of_one_language_has_no_cross_lingual_row():
    def alone(seed: int) -> Table:
        few = table(seed)
        return Table(
            data_sha256={},
            ids=few.ids[:QUESTIONS],
            languages=few.languages[:QUESTIONS],
            candidate_languages=("de",),
            monolingual={"map": few.monolingual["map"][:QUESTIONS]},
            cross_lingual={"map": np.full((QUESTIONS, 1), np.nan)},
            multilingual={"map": few.multilingual["map"][:QUESTIONS]},
        )

    result = compare({"A": [{"msmarco": alone(0)}], "B": [{"msmarco": alone(1)}]})
    assert [row.setting for row in result.tasks["msmarco"].rows] == ["monolingual", "multilingual"]


def test_systems_are_named_by_their_folders_and_found_in_them(save, tmp_path, monkeypatch):
    a, b, odd = (save(name, xquad_r=table(0)) for name in ("a", "b", "lr=0.1"))
    file = tmp_path / "a" / "eval" / "per_query.npz"
    found = parse_systems([a, f"B={b}/eval/per_query.npz,{odd}/eval"])
    assert found == {"a": [file], "B": [tmp_path / name / "eval" / "per_query.npz" for name in ("b", "lr=0.1")]}
    monkeypatch.chdir(tmp_path)
    assert list(parse_systems(["lr=0.1", "a"])) == ["lr=0.1", "a"]
    many = [save(f"seed-{seed}", xquad_r=table(0)) for seed in range(300)]
    assert len(parse_systems(["many=" + ",".join(f"seed-{seed}" for seed in range(300)), "a"])["many"]) == len(many)


def test_mistakes_are_one_line(save, tmp_path, capsys):
    a, b = save("a", xquad_r=table(0)), save("b", xquad_r=table(1))

    def told(*arguments: str) -> str:
        assert main(list(arguments)) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        (line,) = captured.err.splitlines()
        return line

    assert told(a) == "error: only one system (a): give at least two (seeds of one are joined by commas)"
    assert told(f"A={a},{b}").startswith("error: only one system (A)")
    assert told(a, f"{tmp_path}/c").startswith(f"error: no run {tmp_path}/c: give a run's folder")
    (tmp_path / "bare").mkdir()
    assert "holds no per_query.npz: evaluate it first, python -m hybrid_jax.eval --ckpt" in told(a, f"{tmp_path}/bare")
    assert "is given twice: a run is neither another seed nor a baseline of itself" in told(a, f"B={b},{a}/eval")
    assert "two systems are called 'A': name them" in told(f"A={a}", f"A={b}")
    assert told(a, "B=") == "error: 'B=' names no run: give [NAME=]RUN[,RUN...]"
    assert told(a, save("c", demo=table(0))) == (
        "error: the runs share no task (a: xquad_r; c: demo): evaluate them with the same --tasks"
    )
    assert told(a, b, "--tasks", "mlqa_r") == "error: --tasks 'mlqa_r': the runs share xquad_r"
    assert told(a, b, "--metrics", "f1") == ("error: --metrics 'f1': on task xquad_r the runs share map, rank_distance")
    (tmp_path / "b" / "eval" / "per_query.npz").write_bytes(b"PK")
    assert "damaged" in told(a, b)
    (tmp_path / "a file").write_text("")
    b = save("b", xquad_r=table(1))
    assert "a file" in told(a, b, "--json", str(tmp_path / "a file" / "x.json"))


def test_what_was_not_evaluated_alike_is_refused():
    ours = table(0)

    def told(theirs: Table) -> str:
        with pytest.raises(ValueError, match="evaluate") as raised:
            compare({"A": [{"xquad_r": ours}], "B": [{"xquad_r": ours}, {"xquad_r": theirs}]})
        return str(raised.value)

    other = replace(ours, data_sha256=dict(ours.data_sha256) | {"xquad-r/en.json": "2" * 64})
    assert told(other) == (
        "task xquad_r: A and B[1] were evaluated on different data (xquad-r/en.json: sha256 111111111111 and "
        "222222222222): evaluate both on the same files"
    )
    assert "xquad-r/de.json: sha256 000000000000 and none" in told(replace(ours, data_sha256={}))
    renamed = replace(ours, ids=(*ours.ids[:-1], "new"))
    assert "different queries (query 239 is ('th', '79') and ('th', 'new'))" in told(renamed)
    assert "candidates in ('de', 'en', 'th') and in ('de', 'en', 'xx')" in told(
        replace(ours, candidate_languages=("de", "en", "xx"), cross_lingual={})
    )
    holed = ours.multilingual["map"].copy()
    holed[3] = np.nan
    assert "map (multilingual) exists for some queries" in told(replace(ours, multilingual={"map": holed}))


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert "python -m hybrid_jax.eval compare mono=runs/mono_s0" in printed
    assert "train five or more" in printed


def test_too_few_questions_in_a_language_give_no_interval_and_no_verdict():
    def pool(seed: int, gain: float, few: int) -> Table:
        values = gain + 0.01 * np.random.default_rng(seed).standard_normal(80 + few)
        languages = ("en",) * 80 + ("sw",) * few
        return Table({}, tuple(map(str, range(80 + few))), languages, further={"search": {"ndcg@10": values}})

    for few in (4, 5):
        systems = {name: [{"beir:x": pool(gain, gain / 10, few)}] for name, gain in (("A", 2), ("B", 5))}
        result = compare(systems)
        row = rows_of(result, "beir:x")["ndcg@10", "search"]
        note = "no intervals and verdicts in beir:x where a language has fewer than 5 questions or paragraphs"
        told, value = text(result), result.json_value()["tasks"]["beir:x"]["rows"][0]
        bounds = [
            each[end] for each in (value["systems"]["A"], value["against_baseline"]["B"]) for end in ("low", "high")
        ]
        assert row.intervals == value["intervals"] == (few == 5)
        assert row.against_baseline["B"].verdict == (BETTER if few == 5 else NO_EVIDENCE)
        assert (note in result.notes) == (few == 4)
        assert ("[" in told) == (few == 5)
        assert (bounds == [None] * 4) == (few == 4)
