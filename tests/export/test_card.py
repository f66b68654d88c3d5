"""The model card: counted from the log, escaped, honest about what is not known."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import huggingface_hub.constants
import pytest
import yaml
from support.cards import cells, header, written

from hybrid_jax.config import load_config
from hybrid_jax.embed.encoder import TextEncoder, TextRules
from hybrid_jax.embed.load import load
from hybrid_jax.embed.origin import Origin
from hybrid_jax.export.card import block, plain, quoted, table
from hybrid_jax.runs.lines import write_line
from hybrid_jax.runs.trained_on import read_trained_on

FIXTURES = Path(__file__).parents[1] / "fixtures" / "pretrained"


@pytest.fixture(scope="module")
def encoder(tiny_run) -> TextEncoder:
    return load(tiny_run.folder)


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
    assert "A multilingual dual encoder" in card
    assert (
        "on monolingual and cross-lingual batches ([arXiv 2408.10536](https://arxiv.org/abs/2408.10536)), from" in card
    )
    assert "eprint = {2408.10536}" in card
    assert "its `loss` section was not used" not in card


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


def test_the_card_of_a_run_with_an_objective_of_its_own_says_so(encoder: TextEncoder):
    data = {**(encoder.origin.training_data or {}), "the objective": "my_losses.hinge"}
    config = encoder.origin.config or {}
    config = {**config, "mixture": {**config["mixture"], "monolingual_fraction": 1.0}}
    origin = encoder.origin.model_copy(update={"training_data": data, "config": config})
    card = written(replace(encoder, origin=origin))
    assert "\nA dual encoder for retrieval" in card
    assert r"on monolingual batches, with the function my\_losses.hinge as its loss, from random weights;" in card
    hyperparameters = card.split("## Hyperparameters")[1].split("```yaml")[0]
    assert r"It does not reproduce this run: the loss was replaced by the function my\_losses.hinge" in hyperparameters
    limits = card.split("## Limits")[1].split("##")[0]
    assert r"Its loss was the function my\_losses.hinge of whoever trained it" in limits
    assert "2408.10536" not in card.split("## Citation")[1]  # that method has cross-lingual batches, too


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
