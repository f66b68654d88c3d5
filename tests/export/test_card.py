"""The model card: counted from the log, escaped, honest about what is not known."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import yaml

from hybrid_jax.config import load_config
from hybrid_jax.embed.encoder import TextEncoder, TextRules
from hybrid_jax.embed.identity import model_identity
from hybrid_jax.embed.load import load
from hybrid_jax.embed.origin import Origin
from hybrid_jax.eval.full_ranking import run
from hybrid_jax.eval.report.build import build_report
from hybrid_jax.eval.report.schema import Report
from hybrid_jax.eval.tasks import Candidate, Query, RetrievalTask
from hybrid_jax.export.card import block, plain, quoted, table, write_card
from hybrid_jax.export.folder import plan
from hybrid_jax.export.results import difference, read_results
from hybrid_jax.export.settings import ExportError, Format
from hybrid_jax.runs.lines import write_line
from hybrid_jax.runs.provenance import provenance
from hybrid_jax.runs.trained_on import read_trained_on

FIXTURES = Path(__file__).parents[1] / "fixtures" / "pretrained"


@pytest.fixture(scope="module")
def encoder(tiny_run) -> TextEncoder:
    return load(tiny_run.folder)


@pytest.fixture(scope="module")
def report(encoder: TextEncoder) -> Report:
    """What `python -m hybrid_jax.eval` writes of a task with four candidates."""
    names = [("de", "Haus Baum"), ("en", "house tree"), ("fr", "maison arbre"), ("en", "river town")]
    task = RetrievalTask(
        name="small|task",
        queries=tuple(Query(str(row // 3), *name) for row, name in enumerate(names)),
        candidates=tuple(Candidate(str(row // 3), name[0], (name[1],)) for row, name in enumerate(names)),
        relevance=np.array([(row, column) for row in range(4) for column in range(4) if row // 3 == column // 3]),
        candidate_texts=("passage",),
        about="Made by hand",
    )
    return build_report("tiny", run(encoder, [task]), encoder.origin.stated())


def written(encoder: TextEncoder, format: Format = "sentence-transformers", **how: Any) -> str:
    trained_on, results, dtype = how.pop("trained_on", None), how.pop("results", None), how.pop("dtype", "float32")
    return write_card(plan(encoder, format=format, dtype=dtype, **how), "a model", trained_on, results, provenance())


def header(card: str) -> dict[str, Any]:
    return yaml.safe_load(card.split("---\n")[1])


def cells(card: str, heading: str) -> list[list[str]]:
    """The rows of the table whose header begins with `heading`."""
    rows = card[card.index(f"| {heading} |") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def test_the_card_of_a_run_says_what_it_saw(tiny_run, encoder: TextEncoder):
    records = [json.loads(line) for line in (tiny_run.folder / "metrics.jsonl").read_text().splitlines()]
    card = written(encoder, trained_on=read_trained_on(tiny_run.folder / "metrics.jsonl", 80))
    assert header(card)["language"] == ["de", "en", "es"]
    assert (header(card)["library_name"], header(card)["pipeline_tag"]) == (
        "sentence-transformers",
        "sentence-similarity",
    )
    assert "license" not in header(card)
    assert "base_model" not in header(card)
    kinds = {row[0]: row for row in cells(card, "kind of batch")}
    mono = sum(record["kind"] == "monolingual" for record in records)
    assert kinds["monolingual"] == ["monolingual", str(mono), f"{mono / 80:.4f}", f"{mono * 8:,}"]
    assert "0.8 at step 0, 0.2 at step 60, linear between" in card
    languages = {row[0]: row for row in cells(card, "language")}
    assert (
        languages["es"][3]
        == f"{sum(r['query_languages'].get('es', 0) for r in records if r['kind'] != 'monolingual'):,}"
    )
    [source] = cells(card, "dataset")
    digest = (encoder.origin.training_data or {})["tiny"]["sources"][0]["sha256"]
    assert source == ["tiny", r"\$TINY\_ROWS/rows.jsonl", "rows.jsonl", digest, "not stated"]
    config = card.split("```yaml\n")[1].split("\n```")[0]
    assert yaml.safe_load(config) == yaml.safe_load(tiny_run.yaml)
    assert 'prompt `"Query: "`' in card
    limits = card.split("## Limits")[1].split("##")[0]
    assert "one seed (3)" in limits
    assert "No evaluation of it is known" in limits
    assert "licences of the training data are not stated" in limits
    assert "Texts are cut at 16 tokens" in limits
    assert "2408.10536" in card


def test_the_card_of_an_aligned_run_counts_its_pairs_by_language(encoder: TextEncoder, tmp_path: Path):
    languages = {"de": 3, "en": 3, "es": 2}
    record = {"kind": "aligned", "dataset": "tiny", "query_languages": languages, "passage_languages": languages}
    record["language_pairs"] = {language: {language: count} for language, count in languages.items()}
    (tmp_path / "metrics.jsonl").write_text(write_line({"step": 0, **record}), encoding="utf-8")
    config = encoder.origin.config or {}
    aligned = {"mixture": {**config["mixture"], "others": "aligned"}, "loss": {**config["loss"], "positives": "all"}}
    origin = encoder.origin.model_copy(update={"config": {**config, **aligned}})
    card = written(replace(encoder, origin=origin), trained_on=read_trained_on(tmp_path / "metrics.jsonl", 1))
    assert cells(card, "kind of batch") == [["aligned", "1", "1.0000", "8"]]
    assert cells(card, "language") == [[lang, "0", "0", "0", "0", str(count)] for lang, count in languages.items()]
    assert "linear between, the other batches aligned" in card
    assert "in up to 4 of their languages; all passages of a record are positives of each of its queries." in card


def test_the_card_of_a_run_with_mixed_batches_counts_the_pairs_of_each_kind(encoder: TextEncoder, tmp_path: Path):
    sides = [{"query_languages": {"de": n}, "passage_languages": {lang: n}} for n, lang in ((2, "de"), (6, "en"))]
    parts = [{"kind": kind, **side} for kind, side in zip(("monolingual", "cross_lingual"), sides, strict=True)]
    whole = {"query_languages": {"de": 8}, "passage_languages": {"de": 2, "en": 6}}
    record = {"step": 0, "kind": "monolingual + cross_lingual", "dataset": "tiny", **whole, "parts": parts}
    record["language_pairs"] = {"de": {"de": 2, "en": 6}}
    (tmp_path / "metrics.jsonl").write_text(write_line(record), encoding="utf-8")
    config = encoder.origin.config or {}
    mixture = {**config["mixture"], "monolingual_fraction": 0.25, "mix": "pairs"}
    origin = encoder.origin.model_copy(update={"config": {**config, "mixture": mixture}})
    card = written(replace(encoder, origin=origin), trained_on=read_trained_on(tmp_path / "metrics.jsonl", 1))
    assert "0.25, in every batch" in card
    assert cells(card, "kind of batch") == [
        ["monolingual", "1", "1.0000", "2"],
        ["cross\\_lingual", "1", "1.0000", "6"],
    ]


def test_the_snippets_are_code_that_runs_through_the_parser(encoder: TextEncoder):
    awkward = replace(encoder, rules=TextRules('say "```" \\ ', "Passage: ", 8, 16))
    for format in ("sentence-transformers", "hf"):
        card = written(awkward, format)
        snippets = re.findall(r"^(`{3,})python\n(.*?)\n\1$", card, re.DOTALL | re.MULTILINE)
        assert len(snippets) == 2
        for _, code in snippets:
            compile(code, "snippet", "exec")
        assert r"Queries are cut at 8 tokens and passages at 16 in hybrid\_jax; the folder can state one limit" in card
    told = snippets[1][1].split("hybrid_jax.load(")[1].split(")\n")[0]
    given = eval(f"dict(name={told})", {})
    assert given == {
        "name": "a model",
        "pooling": "mean",
        "query_prompt": 'say "```" \\ ',
        "passage_prompt": "Passage: ",
        "max_length": 16,
    }


def test_an_evaluation_of_this_model_is_shown(encoder: TextEncoder, report: Report, tmp_path: Path, tiny_run):
    path = tmp_path / "report.json"
    path.write_text(report.model_dump_json())
    results = read_results(path)
    assert difference(results, encoder.origin) is None
    assert difference(results, encoder.origin.model_copy(update={"step": 20})) == "step 80 instead of 20"
    cut = load(tiny_run.folder, max_length=8).origin
    assert difference(results, cut) == "other prompts or length limits"
    card = written(encoder, results=results, trained_on=read_trained_on(tiny_run.folder / "metrics.jsonl", 80))
    means = report.tasks["small|task"].means("map")
    [shown] = [row for row in cells(card, "task") if row[1] == "mAP"]
    assert shown == [
        r"small\|task",
        "mAP",
        *(f"{means[s]:.4f}" for s in ("monolingual", "cross_lingual", "multilingual")),
    ]
    bias = {row[1]: row for row in cells(card[card.index("### Language bias") :], "task")}
    assert set(bias) == {"all", "de", "en", "fr"}
    assert bias["de"][2] == f"{report.tasks['small|task'].per_language['de']['rank_distance']:.1f}"
    assert "Evaluated without training data in: fr." in card
    assert "No evaluation" not in card


def test_an_evaluation_with_another_pooling_is_not_of_this_model(encoder: TextEncoder, report: Report, tmp_path: Path):
    mean, cls = (load(FIXTURES / "bert", pooling=pooling).origin for pooling in ("mean", "cls"))
    assert model_identity(mean) != model_identity(cls)
    path = tmp_path / "report.json"
    values = report.json_value()
    others = {name: fact for name, fact in values["provenance"].items() if name not in encoder.origin.stated()}
    path.write_text(json.dumps(values | {"provenance": others | mean.stated()}))
    assert difference(read_results(path), mean) is None
    assert difference(read_results(path), cls) == "pooling mean instead of cls"


def test_a_file_that_is_no_report_is_refused(report: Report, tmp_path: Path):
    path = tmp_path / "report.json"
    with pytest.raises(ExportError, match="cannot be read"):
        read_results(path)
    for content, problem in (
        ({**report.json_value(), "schema_version": 1}, "schema_version"),
        ({}, "title"),
        ("{", "the file"),
    ):
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        with pytest.raises(ExportError, match=rf"no report that this version reads \({problem}: .*hybrid_jax.eval"):
            read_results(path)


def test_a_converted_model_says_from_what(encoder: TextEncoder):
    origin = Origin(kind="Hugging Face", folder=Path("/home/me/*mine*"), weights_sha256="ab", tokenizer_sha256="cd")
    card = written(replace(encoder, origin=origin), dtype="float16")
    assert r"from the Hugging Face model \*mine\*" in card
    assert "/home/me" not in card
    assert "base_model" not in header(card)
    assert "What it was trained on is not known" in card
    assert "rounded to float16" in card
    cached = origin.model_copy(update={"folder": Path("/cache/hub/models--org--a-model/snapshots/0123")})
    assert header(written(replace(encoder, origin=cached)))["base_model"] == "org/a-model"
    without_owner = origin.model_copy(update={"folder": Path("/cache/hub/models--a-model/snapshots/0123")})
    assert header(written(replace(encoder, origin=without_owner)))["base_model"] == "a-model"


def test_a_run_from_a_pretrained_model_names_it_and_links_to_those_of_the_hub(
    encoder: TextEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """`models/xlmr` may be a folder and somebody's hub id: the config of the run tells which one it was."""
    revision = "0123456789abcdef0123456789abcdef01234567"
    cached, local = tmp_path / "cache" / "models--org--a-model", tmp_path / "models" / "xlmr"
    for folder in (cached / "snapshots" / revision, local):
        shutil.copytree(FIXTURES / "minilm", folder)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(revision)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    own = encoder.origin.config or {}
    named = {"org/a-model": ("org/a-model", True), "models/xlmr": ("models/xlmr", False), str(local): ("xlmr", False)}
    for pretrained, (shown, linked) in named.items():
        monkeypatch.chdir(tmp_path)
        Path("run.yaml").write_text(f"pretrained: {pretrained}\n", encoding="utf-8")
        tokenizer = load_config(Path("run.yaml")).model_dump(mode="json")["data"]["tokenizer"]
        config = {**own, "pretrained": pretrained, "data": {**own["data"], "tokenizer": tokenizer}}
        monkeypatch.chdir("/")  # an export begins anywhere
        card = written(replace(encoder, origin=encoder.origin.model_copy(update={"config": config})))
        assert header(card).get("base_model") == (shown if linked else None)
        assert f"from the weights of {plain(shown)};" in card


def test_no_text_is_markup():
    assert plain("a|b\n<i>*x*</i> [y](z) `c` \\ & #1 $2\u202e") == (
        r"a\|b \<i\>\*x\*\</i\> \[y\](z) \`c\` \\ \& \#1 \$2" + "\ufffd"
    )
    assert plain(plain("*")) != plain("*")  # what is escaped is a text again, and no exception
    assert quoted("a ``b") == '```"a ``b"```'
    assert block("x\n````\ny", "yaml") == "`````yaml\nx\n````\ny\n`````"
    assert table(["a|b"], [["c\nd"]]) == "| a\\|b |\n| --- |\n| c d |"


def test_a_hostile_config_changes_nothing_of_the_page(encoder: TextEncoder):
    hostile = "</td>|<script>alert(1)</script> [click](http://x) `` ``` \n# heading\n---\n"
    config = json.loads(json.dumps(encoder.origin.config))
    config["data"]["datasets"][0]["path"] = hostile
    origin = encoder.origin.model_copy(update={"config": config})
    encoder = replace(encoder, origin=origin, rules=replace(encoder.rules, query_prompt=hostile))
    card = written(encoder)
    outside = re.sub(r"^(`{3,})\w+\n.*?\n\1$", "", card.split("---\n", 2)[2], flags=re.DOTALL | re.MULTILINE)
    outside = re.sub(r"(?<![\\`])(`+)(?!`).+?(?<!`)\1(?!`)", "", outside)
    assert "alert" in outside
    assert not re.search(r"(?<!\\)<script|(?<!\\)\[click", outside)
    assert [line for line in outside.splitlines() if line.startswith("# ")] == ["# a model"]
    [row] = cells(card, "dataset")
    assert len(row) == 5
