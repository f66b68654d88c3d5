"""What the evaluation's command takes beside tasks: debiasing and files for other tools, on a small pool."""

import json
import sys
from pathlib import Path

import ir_measures
import numpy as np
import pytest

from hybrid_jax.debias.methods import Debiaser
from hybrid_jax.eval import __main__ as cli
from hybrid_jax.eval.measures import per_query, stats


@pytest.fixture
def rows(tiny_run) -> dict[str, list[dict[str, str]]]:
    """By language what the tiny run was trained on, in words that its tokenizer knows; line i translates line i."""
    found: dict[str, list[dict[str, str]]] = {}
    for line in (tiny_run.folder.parent / "rows.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found.setdefault(row["lang"], []).append(row)
    return found


@pytest.fixture
def pool(rows: dict[str, list[dict[str, str]]], tmp_path: Path) -> Path:
    """A folder in which every record is asked and answered in all languages."""
    folder = tmp_path / "pool"
    (folder / "qrels").mkdir(parents=True)
    every = [row for found in rows.values() for row in found]
    for kind, text in (("corpus", "passage"), ("queries", "query")):
        lines = [
            {"_id": f"{kind[0]}-{row['lang']}-{row['id']}", "text": row[text], "lang": row["lang"]} for row in every
        ]
        (folder / f"{kind}.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    judged = [f"q-{row['lang']}-{row['id']}\tc-{language}-{row['id']}\t1" for row in every for language in rows]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]), encoding="utf-8")
    return folder


@pytest.fixture
def texts(rows: dict[str, list[dict[str, str]]], tmp_path: Path) -> Path:
    """Sixty translations to fit on, none of which is in the pool."""
    lines = [
        {"lang": lang, "text": f"{found[n % 36]['query']} {found[7 * n % 36]['passage']} {n}", "id": f"t{n}"}
        for lang, found in rows.items()
        for n in range(60)
    ]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return tmp_path / "texts.jsonl"


def run_cli(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["eval", *map(str, arguments)])
    monkeypatch.setattr(cli, "keep_freed_memory", lambda: None)  # it is for a whole process
    return cli.main()


def test_debiased_vectors_stand_beside_the_raw_ones_and_all_files_are_written(
    tiny_run, pool: Path, texts: Path, tmp_path: Path, monkeypatch, capsys
):
    out, key = tmp_path / "out", f"pooled:{pool.name}"
    asked = ["--ckpt", tiny_run.folder, "--tasks", f"pooled:{pool}", "--out", out]
    debias = ["--debias", "center,shift,lsar", "--debias-text", texts, "--also", "figures,trec,mteb"]
    assert run_cli(monkeypatch, *asked, *debias) == 0
    told = capsys.readouterr().out
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert list(report["others"]) == ["center", "shift", "lsar"]
    assert set(report["provenance"]["debias"]) == {"center", "shift", "lsar"}
    raw = report["tasks"][key]
    for method in report["others"]:
        found = report["others"][method][key]
        assert found["map"] != raw["map"]
        assert f"{key}, {method}: mAP {found['map']['monolingual']:.4f}" in told
        assert method in (out / "report.md").read_text(encoding="utf-8")
        assert Debiaser.load(out / f"debias-{method}.npz").name == method
        values = per_query.read(out / f"per_query-{method}.npz")[key].by_question("multilingual", "map")
        assert stats.macro_mean(values) == pytest.approx(found["map"]["multilingual"])
    assert run_cli(monkeypatch, "compare", out, f"center={out}/per_query-center.npz", "--metrics", "map") == 0
    told = capsys.readouterr().out
    assert "center against out, difference and p" in told
    assert "note: center: the same runs as out, so each is compared with itself" in told

    run = list(ir_measures.read_trec_run(str(out / "trec" / f"pooled-{pool.name}.run.gz")))
    qrels = list(ir_measures.read_trec_qrels(str(out / "trec" / f"pooled-{pool.name}.qrels.gz")))
    theirs = {row.query_id: row.value for row in ir_measures.iter_calc([ir_measures.nDCG @ 10], qrels, run)}
    table = per_query.read(out / per_query.FILE_NAME)[key]
    ours = dict(
        zip(map(":".join, zip(table.languages, table.ids, strict=True)), table.multilingual["ndcg@10"], strict=True)
    )
    assert theirs == pytest.approx(ours)
    assert not np.isnan(table.multilingual["lone_answer_gap"]).any()
    assert {path.suffix for path in (out / "figures").iterdir()} == {".png", ".svg", ".pdf"}
    assert list((out / "mteb" / "results").rglob("hybrid_jax.*.json"))


def test_a_searched_pool_has_everything_that_a_full_ranking_has(
    tiny_run, pool: Path, texts: Path, tmp_path: Path, monkeypatch, capsys
):
    """The untrained run, debiasing, CSLS, modes, intervals and values per query, which `compare` reads."""
    key = "beir:pool"  # the folder's name: the same wherever it lies
    asked = ["--ckpt", tiny_run.folder, "--tasks", f"beir:{pool}", "--untrained", "--csls", "--debias", "lsar"]
    also = ["--also", "figures,trec"]
    assert run_cli(monkeypatch, *asked, "--debias-text", texts, "--out", tmp_path / "a", *also) == 0
    told = capsys.readouterr().out
    assert "--also figures wrote nothing: figures show tasks that are ranked in full" in told
    written = [Path(path).name for path in told.splitlines()[-1].removeprefix("report: ").split("  ")]
    beside = [f"per_query-{name}.npz" for name in ("lsar", "csls", "untrained")]
    assert written == ["report.json", "report.md", "report.html", "per_query.npz", *beside, "debias-lsar.npz", "trec"]
    assert sorted(written) == sorted(path.name for path in (tmp_path / "a").iterdir())
    report = json.loads((tmp_path / "a" / "report.json").read_text(encoding="utf-8"))
    raw = report["searches"][key]
    assert list(report["other_searches"]) == ["untrained", "lsar", "csls"]
    shown = (tmp_path / "a" / "report.md").read_text(encoding="utf-8")
    for label, others in report["other_searches"].items():
        assert others[key]["ndcg@10"] != raw["ndcg@10"]
        for text in (told, shown):
            assert f"mean, {label}" in text
    for name in ("ndcg@10", "recall@100", "map@100", "mrr@10"):
        low, high = raw["intervals"][name]
        assert low <= raw[name] <= high
        oracle, pooled = (raw["modes"][mode][name]["value"] for mode in ("language_oracle", "pooled"))
        assert oracle >= pooled
    assert sum(row["value"] for row in raw["first_result"].values()) == pytest.approx(1)
    assert "| language oracle | trained |" in shown
    # The values per query are those that the means are of, and `compare` tests them.
    table = per_query.read(tmp_path / "a" / per_query.FILE_NAME)[key]
    values = table.part("search")["ndcg@10"]
    means = [values[np.array(table.languages) == language].mean() for language in sorted(set(table.languages))]
    assert raw["ndcg@10"] == pytest.approx(np.mean(means), abs=1e-12)
    early = sorted(int(path.name) for path in (tiny_run.folder / "checkpoints").iterdir() if path.name.isdecimal())[0]
    step = ["--ckpt", tiny_run.folder, "--step", early, "--tasks", f"beir:{pool}", "--out", tmp_path / "b"]
    assert run_cli(monkeypatch, *step) == 0
    capsys.readouterr()
    both = ["compare", tmp_path / "a", tmp_path / "b"]
    assert run_cli(monkeypatch, *both, "--metrics", "ndcg@10,first_right_own") == 0
    told = capsys.readouterr().out
    assert "nDCG@10" in told
    assert "First: right, query's language" in told
    assert run_cli(monkeypatch, *both, "--parts", "language_oracle,balanced", "--metrics", "ndcg@10") == 0
    assert "language oracle" in capsys.readouterr().out
    beside_itself = ["compare", tmp_path / "a", f"csls={tmp_path}/a/per_query-csls.npz", "--metrics", "ndcg@10"]
    assert run_cli(monkeypatch, *beside_itself) == 0
    assert "csls against a, difference and p" in capsys.readouterr().out
    # A report over an earlier one leaves none of its values.
    assert run_cli(monkeypatch, *step[:-1], tmp_path / "a") == 0
    assert [path.name for path in (tmp_path / "a").glob("per_query*")] == ["per_query.npz"]
    assert run_cli(monkeypatch, *both, "--parts", "monolingual") == 1
    assert "--parts 'monolingual': on task" in capsys.readouterr().err


def test_options_that_do_nothing_or_cannot_work_are_refused(
    tiny_run, pool: Path, texts: Path, tmp_path: Path, monkeypatch, capsys
):
    asked = ["--ckpt", tiny_run.folder, "--tasks", f"pooled:{pool}", "--out", tmp_path / "out"]
    for wrong, message in (
        (["--debias", "lsar"], "--debias needs texts to be fitted on: name some with --debias-text"),
        (["--debias", "nothing", "--debias-text", texts], "'nothing' is unknown: choose from center"),
        (["--debias-text", texts], "--debias-text is what --debias is fitted on"),
        (["--store-dtype", "int8"], "--store-dtype int8 is how --stores are kept"),
        (["--rows-per-shard", "60"], "--rows-per-shard 60: give 1 or more, and the folder of --stores"),
        (["--stores", tmp_path / "stores"], "--stores keeps searched pools: name one in --tasks"),
        (["--debias-texts-per-language", "60"], "--debias-texts-per-language is for --debias"),
        (
            ["--debias", "lsar", "--debias-text", texts, "--debias-texts-per-language", "0"],
            "--debias-texts-per-language 0: give 50 or more",
        ),
        (["--tasks", f"pooled:{pool},pooled:{pool}/../pool"], "two tasks are called 'pooled:pool'"),
    ):
        assert run_cli(monkeypatch, *asked, *wrong) == 1
        told = capsys.readouterr().err.splitlines()
        assert len(told) == 1
        assert message in told[0]
    with pytest.raises(SystemExit):
        run_cli(monkeypatch, *asked, "--also", "poems")
    assert "'poems' is none of figures, trec, mteb" in capsys.readouterr().err
