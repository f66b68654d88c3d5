"""The other side of the parity tests: models made, saved and run by transformers and sentence-transformers.

Needs torch. Imported by `tests/parity`; `PYTHONPATH=tests python tests/support/reference.py` writes the stored folders
(tests/fixtures/pretrained) that `make test` reads without torch.
"""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from support.tokenizer_folders import byte_bpe, unigram, wordpiece

TEXTS = (
    "What is the capital of France?", "Paris ist die Hauptstadt von Frankreich.", "a", "¿Dónde está la biblioteca?",
    "ما هي عاصمة فرنسا؟", "भारत की राजधानी नई दिल्ली है।", "Πού είναι η Αθήνα;",
    "กรุงเทพมหานครเป็นเมืองหลวง", "北京是中国的首都。",
    "Bu bir cümledir", "Đây là một câu tiếng Việt", "Столица России — Москва", "  two   spaces ", "x " * 60,
)  # fmt: skip
TEMPERATURE = 0.1
LENGTH = 24

CASES: dict[str, Callable[[Path], None]] = {}
"""Makes the folder of each case; torch's seed is set by the caller."""


def case(make: Callable[[Path], None]) -> Callable[[Path], None]:
    CASES[make.__name__] = make
    return make


SMALL = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 24}


def _randomised(model: Any) -> Any:
    """Weights large enough that every part of the model matters, LayerNorms and biases included."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


def _bert(vocab: int, **settings: Any) -> Any:
    shape = {**SMALL, "max_position_embeddings": 40, "pad_token_id": 0, **settings}
    return _randomised(transformers.BertModel(transformers.BertConfig(vocab_size=vocab, **shape)))


def _xlmr(vocab: int, **settings: Any) -> Any:
    shape = {**SMALL, "max_position_embeddings": 42, "type_vocab_size": 1, "pad_token_id": 1, "layer_norm_eps": 1e-5}
    config = transformers.XLMRobertaConfig(vocab_size=vocab, **{**shape, **settings})
    return _randomised(transformers.XLMRobertaModel(config))


def _modernbert(vocab: int, pad: int, **settings: Any) -> Any:
    shape = {**SMALL, "num_hidden_layers": 4, "max_position_embeddings": 64, "local_attention": 8, "pad_token_id": pad}
    ids = {"bos_token_id": 0, "cls_token_id": 0, "eos_token_id": 2, "sep_token_id": 2}
    config = transformers.ModernBertConfig(vocab_size=vocab, **ids, **{**shape, **settings})
    return _randomised(transformers.ModernBertModel(config))


@case
def bert(folder: Path) -> None:
    """mBERT's kind: cased, a pooler, weights in several files."""
    _bert(wordpiece(folder, TEXTS, lower=False)).save_pretrained(folder, max_shard_size="8KB")


@case
def xlmr(folder: Path) -> None:
    _xlmr(unigram(folder, TEXTS)).save_pretrained(folder)


@case
def roberta(folder: Path) -> None:
    vocab = byte_bpe(folder, TEXTS, roberta=True)
    shape = {**SMALL, "max_position_embeddings": 42, "type_vocab_size": 1, "pad_token_id": 1, "layer_norm_eps": 1e-5}
    _randomised(transformers.RobertaModel(transformers.RobertaConfig(vocab_size=vocab, **shape))).save_pretrained(
        folder
    )


@case
def modernbert(folder: Path) -> None:
    _modernbert(byte_bpe(folder, TEXTS), 1).save_pretrained(folder)


@case
def bert_bfloat16(folder: Path) -> None:
    _bert(wordpiece(folder, TEXTS, lower=True), hidden_act="gelu_new").to(torch.bfloat16).save_pretrained(folder)


@case
def xlmr_float16(folder: Path) -> None:
    _xlmr(unigram(folder, TEXTS)).to(torch.float16).save_pretrained(folder)


def _sentence_transformers(folder: Path, model: Any, modules: list[Any], prompts: dict[str, str], **text: Any) -> None:
    """`folder` holds a tokenizer already."""
    model.save_pretrained(folder)
    parts = [Transformer(str(folder), **text), *modules]
    SentenceTransformer(modules=parts, prompts=prompts, device="cpu").save(str(folder), create_model_card=False)


def _legacy(folder: Path) -> None:
    """Rewrites a folder the way sentence-transformers 2 to 4 wrote it."""
    modules = json.loads((folder / "modules.json").read_text())
    for module in modules:
        module["type"] = "sentence_transformers.models." + module["type"].rsplit(".", 1)[1]
    (folder / "modules.json").write_text(json.dumps(modules))
    path = folder / "1_Pooling" / "config.json"
    new = json.loads(path.read_text())
    legacy = {"word_embedding_dimension": new["embedding_dimension"]}
    names = {"cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens"}
    path.write_text(json.dumps(legacy | {key: new["pooling_mode"] == name for name, key in names.items()}))


@case
def labse(folder: Path) -> None:
    """cls, Dense with tanh, Normalize; the old names."""
    model = _bert(wordpiece(folder, TEXTS, lower=False))
    _sentence_transformers(folder, model, [Pooling(16, "cls"), Dense(16, 16), Normalize()], {}, max_seq_length=32)
    _legacy(folder)


@case
def minilm(folder: Path) -> None:
    """mean, Normalize, lower-cased before a cased tokenizer, as the versions before 6 said it."""
    model = _bert(wordpiece(folder, TEXTS, lower=False))
    _sentence_transformers(folder, model, [Pooling(16, "mean"), Normalize()], {})
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 20, "do_lower_case": true}')


@case
def e5(folder: Path) -> None:
    """mean, Normalize, prompts."""
    prompts = {"query": "query: ", "document": "passage: "}
    _sentence_transformers(
        folder, _xlmr(unigram(folder, TEXTS)), [Pooling(16, "mean"), Normalize()], prompts, max_seq_length=40
    )


@case
def bge_m3(folder: Path) -> None:
    """cls, Normalize; the old names."""
    _sentence_transformers(
        folder, _xlmr(unigram(folder, TEXTS)), [Pooling(16, "cls"), Normalize()], {}, max_seq_length=40
    )
    _legacy(folder)


@case
def mmbert(folder: Path) -> None:
    """ModernBERT, mean, a Dense that is smaller, without bias or activation; biases and equal thetas inside.

    Its config.json has the published ones' keys that transformers does not read.
    """
    rope = {kind: {"rope_type": "default", "rope_theta": 1e4} for kind in ("full_attention", "sliding_attention")}
    vocab = byte_bpe(folder, TEXTS)
    unread = {"position_embedding_type": "sans_pos", "layer_norm_eps": 1e-5}
    model = _modernbert(vocab, 1, rope_parameters=rope, attention_bias=True, mlp_bias=True, norm_bias=True, **unread)
    dense = Dense(16, 12, bias=False, activation_function=torch.nn.Identity())
    _sentence_transformers(folder, model, [Pooling(16, "mean"), dense, Normalize()], {}, max_seq_length=48)


def batches(vocab: int, limit: int, left_padding: bool) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Token ids and masks: ragged rows, rows of one token, rows of the greatest length, padding on the left."""
    rng = np.random.default_rng(0)

    def batch(lengths: list[int], left: bool = False) -> tuple[np.ndarray, np.ndarray]:
        width = max(lengths)
        mask = np.arange(width) < np.array(lengths)[:, None]
        mask = mask[:, ::-1] if left else mask
        tokens = rng.integers(5, vocab, mask.shape)
        return np.where(mask, tokens, 0).astype(np.int32), mask.astype(np.int32)

    found = {"ragged": batch([7, 3, 12, 1]), "one_token": batch([1, 1]), "longest": batch([limit, limit // 2])}
    return found | ({"left": batch([7, 3, 12, 1], left=True)} if left_padding else {})


def expected(folder: Path) -> dict[str, np.ndarray]:
    """What the references make of a folder, as named arrays: see `support.parity.check`."""
    found: dict[str, np.ndarray] = {}
    model = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    config = model.config
    family = config.model_type
    limit = config.max_position_embeddings - (2 if "roberta" in family else 0)
    pad = config.pad_token_id
    for name, (tokens, mask) in batches(config.vocab_size, limit, left_padding=family != "bert").items():
        tokens = np.where(mask, tokens, pad)
        with torch.no_grad():
            output = model(input_ids=torch.tensor(tokens), attention_mask=torch.tensor(mask))
        found |= {f"{name}/tokens": tokens, f"{name}/mask": mask, f"{name}/hidden": output.last_hidden_state.numpy()}
        if (folder / "modules.json").exists() or family != "bert":
            continue
        found[f"{name}/pooler"] = torch.nn.functional.normalize(output.pooler_output).numpy()
    found |= {f"gradient/{name}": value for name, value in _gradients(model, found).items()}
    if (folder / "modules.json").exists():
        reference = SentenceTransformer(str(folder), device="cpu")
        found["queries"] = np.asarray(reference.encode_query(list(TEXTS)))
        found["passages"] = np.asarray(reference.encode_document(list(TEXTS)))
    return found


def _gradients(model: Any, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of the in-batch contrastive loss of four pairs, pooled by the mean, for every parameter that it reaches."""
    tokens, mask = (torch.tensor(found[f"ragged/{name}"]) for name in ("tokens", "mask"))

    def encode(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = model(input_ids=tokens, attention_mask=mask).last_hidden_state
        pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return torch.nn.functional.normalize(pooled)

    queries, passages = encode(tokens, mask), encode(tokens.flip(0), mask.flip(0))
    loss = torch.nn.functional.cross_entropy(queries @ passages.T / TEMPERATURE, torch.arange(len(tokens)))
    model.zero_grad()
    loss.backward()
    return {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}


def write_fixtures(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    for number, (name, make) in enumerate(CASES.items()):
        folder = root / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        torch.manual_seed(number)
        make(folder)
        np.savez_compressed(folder / "expected.npz", allow_pickle=False, **expected(folder))


if __name__ == "__main__":
    write_fixtures(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "fixtures" / "pretrained")
