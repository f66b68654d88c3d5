"""What an export says of other libraries: a line for each difference, nothing where there is none, no prompt for mteb
to warn of."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hybrid_jax.embed.encoder import TextEncoder, TextRules
from hybrid_jax.embed.load import load
from hybrid_jax.export import __main__ as cli
from hybrid_jax.export.elsewhere import differences
from hybrid_jax.export.folder import plan, write_folder

FIXTURES = Path(__file__).parents[1] / "fixtures" / "pretrained"


@pytest.fixture(scope="module")
def encoder(tiny_run) -> TextEncoder:
    """Of a run, without prompts and with one limit."""
    return replace(load(tiny_run.folder), rules=TextRules("", "", 16, 16))


def test_nothing_is_said_where_nothing_differs(encoder: TextEncoder):
    assert list(differences(plan(encoder, format="sentence-transformers", dtype="float32"))) == []


def test_each_difference_is_a_line(encoder: TextEncoder):
    def told(changed: TextEncoder, **how) -> list[str]:
        asked = {"format": "sentence-transformers", "dtype": "float32", **how}
        return list(differences(plan(changed, **asked)))

    limits = told(replace(encoder, rules=TextRules("", "", 8, 16)))
    assert limits == [
        "queries are cut at 8 tokens and passages at 16 in hybrid_jax; the folder can state one limit, so "
        "sentence-transformers cuts both at 16"
    ]
    prompts = replace(encoder, rules=TextRules("Query: ", "", 16, 16))
    assert ["encode does so only with prompt_name" in line for line in told(prompts)] == [True]
    prompts_to_add, pooling = told(prompts, format="hf")
    assert "transformers knows no prompts" in prompts_to_add
    assert "the text's is the mean of the tokens" in pooling
    assert ["computes in float16" in line for line in told(encoder, dtype="float16")] == [True]
    half = encoder.model.encoder.model_copy(update={"dtype": "bfloat16"})
    half = replace(encoder, model=encoder.model.model_copy(update={"encoder": half}))
    assert told(half) == [
        "the run and its evaluation computed in bfloat16; the folder computes in float32, so its vectors differ a "
        "little from the run's"
    ]
    modern = load(FIXTURES / "modernbert")  # its layers 0 and 3 are global
    uneven = modern.model.encoder.model_copy(update={"global_layers": (1, 2)})
    uneven = replace(modern, model=modern.model.model_copy(update={"encoder": uneven}))
    assert [line for line in told(uneven) if "transformers 4" in line] == [
        "transformers 4 knows evenly spaced global layers only: load it with transformers 5"
    ]
    assert [line for line in told(modern) if "transformers 4" in line] == []
    tower = encoder.parameters["tower"]
    two = replace(
        encoder,
        model=encoder.model.model_copy(update={"tied": False}),
        parameters={"query_tower": tower, "passage_tower": tower},
    )
    assert ["the folder is for query texts" in line for line in told(two, tower="query")] == [True]


def test_the_command_prints_them_and_the_card_has_them(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(cli, "keep_freed_memory", lambda: None)  # it is for a whole process
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["export", "--ckpt", str(FIXTURES / "e5"), "--out", str(out)])
    assert cli.main() == 0
    assert "\nnote: sentence-transformers puts prompts before texts in encode_query" in capsys.readouterr().out
    assert "Sentence-transformers puts prompts before texts" in (out / "README.md").read_text(encoding="utf-8")


def test_prompts_have_names_that_mteb_knows(encoder: TextEncoder, tmp_path: Path):
    """mteb takes "query", "document", and names of tasks and their types, and warns of all others."""
    what = plan(
        replace(encoder, rules=TextRules("Query: ", "Passage: ", 16, 16)),
        format="sentence-transformers",
        dtype="float32",
    )
    write_folder(what, tmp_path / "out", card="")
    content = json.loads((tmp_path / "out" / "config_sentence_transformers.json").read_text(encoding="utf-8"))
    assert content["prompts"] == {"query": "Query: ", "document": "Passage: "}
