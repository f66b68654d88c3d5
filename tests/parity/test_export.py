"""What we export, sentence-transformers loads, without a warning of missing weights, and gives our vectors."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from support.reference import TEXTS
from transformers import AutoModel

from hybrid_jax.embed.load import load
from hybrid_jax.export.folder import plan, write_folder

FIXTURES = Path(__file__).parents[1] / "fixtures" / "pretrained"
FOLDERS = sorted(path for path in FIXTURES.iterdir() if (path / "modules.json").exists())


def distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    norms = np.linalg.norm(ours.astype(np.float64), axis=1) * np.linalg.norm(theirs.astype(np.float64), axis=1)
    return float((1 - (ours.astype(np.float64) * theirs).sum(axis=1) / norms).max())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_sentence_transformers_gives_our_vectors(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    encoder = load(folder, query_prompt="Query: ", passage_prompt="Passage: ")
    write_folder(plan(encoder, format="sentence-transformers", dtype="float32"), tmp_path / "out", card="# card\n")
    legacy = [module["type"] for module in json.loads((tmp_path / "out" / "modules.json").read_text())]
    assert all(kind.startswith("sentence_transformers.models.") for kind in legacy)
    model = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    told = capfd.readouterr().err
    assert "newly initialized" not in told
    assert "MISSING" not in told
    queries = distance(encoder.encode_queries(TEXTS), np.asarray(model.encode_query(list(TEXTS))))
    passages = distance(encoder.encode_passages(TEXTS), np.asarray(model.encode_document(list(TEXTS))))
    print(f"{folder.name}: cosine distance {queries:.1e}, {passages:.1e}")
    assert max(queries, passages) <= 1e-6


ODD_TEXTS = [
    *(
        "",
        " ",
        "\n",
        "a <pad> b [PAD] c",
        "<pad>",
        "<pad> <pad> at the start",
        "[MASK] <mask> <s> [CLS] </s> [SEP] <unk>",
    ),
    *("GROSSBUCHSTABEN İstanbul ΣΊΣΥΦΟΣ", "e\u0301 é ﬁ ½", "👩🏽‍🔬 \u200b \ufeff", "eins zwei drei " * 40, "x" * 200),
]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_exports_treat_odd_texts_limits_sides_and_case_alike(folder: Path, side: str, tmp_path: Path):
    source = Path(shutil.copytree(folder, tmp_path / "source"))
    for name, changes in {
        "tokenizer_config.json": {"truncation_side": side},
        "sentence_bert_config.json": {"do_lower_case": side == "left", "max_seq_length": 9},
        "config_sentence_transformers.json": {"prompts": {"query": "", "document": "Doc: "}},
    }.items():
        path = source / name
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    encoder = load(source)
    write_folder(plan(encoder, format="sentence-transformers", dtype="float32"), tmp_path / "out", card="# card\n")
    for where in (source, tmp_path / "out"):
        model = SentenceTransformer(str(where), device="cpu")
        queries = distance(encoder.encode_queries(ODD_TEXTS), np.asarray(model.encode_query(ODD_TEXTS)))
        passages = distance(encoder.encode_passages(ODD_TEXTS), np.asarray(model.encode_document(ODD_TEXTS)))
        assert max(queries, passages) <= 1e-6, where.name
    again = load(tmp_path / "out").encode_passages(ODD_TEXTS)
    np.testing.assert_array_equal(again, encoder.encode_passages(ODD_TEXTS))


def test_the_real_weights_go_there_and_back(minilm: Path, tmp_path: Path):
    encoder = load(minilm)
    write_folder(plan(encoder, format="sentence-transformers", dtype="float32"), tmp_path / "out", card="# card\n")
    texts = list(TEXTS)
    theirs = np.asarray(SentenceTransformer(str(tmp_path / "out"), device="cpu").encode(texts))
    assert distance(encoder.encode_queries(texts), theirs) <= 1e-6
    np.testing.assert_array_equal(load(tmp_path / "out").encode_queries(texts), encoder.encode_queries(texts))


@pytest.mark.parametrize("name", ["bert", "xlmr", "roberta", "modernbert"])
def test_transformers_keeps_every_bit(name: str, tmp_path: Path):
    write_folder(plan(load(FIXTURES / name), format="hf", dtype="float32"), tmp_path / "out", card="# card\n")
    theirs = AutoModel.from_pretrained(FIXTURES / name).state_dict()
    ours = AutoModel.from_pretrained(tmp_path / "out").state_dict()
    unused = {key for key in theirs if key.startswith("pooler.") and name != "bert"}
    for key in theirs.keys() - unused:
        np.testing.assert_array_equal(ours[key].numpy(), theirs[key].numpy(), err_msg=key)


def test_a_run_of_ours_from_scratch_loads_there(tiny_run, tmp_path: Path):
    encoder = load(tiny_run.folder)
    write_folder(plan(encoder, format="sentence-transformers", dtype="float32"), tmp_path / "out", card="# card\n")
    model = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    texts = [
        "Haus Baum?",
        "river town?",
        "casa árbol río ciudad monte bosque " * 9,
        "Haus <pad> Baum <pad> <pad> river",
    ]
    queries = distance(encoder.encode_queries(texts), np.asarray(model.encode_query(texts)))
    passages = distance(encoder.encode_passages(texts), np.asarray(model.encode_document(texts)))
    print(f"a run of ours: cosine distance {queries:.1e}, {passages:.1e}")
    assert max(queries, passages) <= 1e-6


def test_a_run_trained_on_padding_tokens_in_texts_equals_its_export(tmp_path: Path):
    """Of a family that does not count padding tokens in positions: in training, in evaluation, and in the export."""
    from hybrid_jax.config import load_config
    from hybrid_jax.train.loop import train

    rows = [
        {"query": f"eins <pad> {n}?", "passage": f"<pad> {n} <pad> <pad> zwei {n}.", "lang": "de"} for n in range(24)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row | {"id": str(n)}) for n, row in enumerate(rows)))
    (tmp_path / "config.yaml").write_text(
        f"steps: 4\nbatch_size: 8\npretrained: {FIXTURES / 'e5'}\n"
        f"data:\n  datasets: [{{name: rows, path: {tmp_path / 'rows.jsonl'}}}]\n  cache_dir: {tmp_path / 'cache'}\n"
        "  max_query_length: 24\n  max_passage_length: 24\nmixture: {monolingual_fraction: 1.0}\n"
        "optimizer: {learning_rate: 0.01, warmup_steps: 1}\nmesh: {data: 1}\ncheckpoint: {every: 4}\n"
        "model: {encoder: {dtype: float32}}\n"  # not what rounding to bfloat16 does to the vectors
    )
    train(load_config(tmp_path / "config.yaml"), tmp_path / "run")
    encoder = load(tmp_path / "run")
    write_folder(plan(encoder, format="sentence-transformers", dtype="float32"), tmp_path / "out", card="# card\n")
    model = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    texts = [row["passage"] for row in rows]
    assert distance(encoder.encode_passages(texts), np.asarray(model.encode_document(texts))) <= 1e-6
    assert distance(encoder.encode_queries(texts), np.asarray(model.encode_query(texts))) <= 1e-6
