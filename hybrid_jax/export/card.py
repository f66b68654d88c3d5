"""The model card of an exported folder, written from the run's own files: README.md for people, its header for the hub.

Everything that comes from a config or from data is escaped, so that no text of theirs changes the page.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from hybrid_jax.disk.tables import escape_markdown, markdown_table
from hybrid_jax.embed.origin import Origin
from hybrid_jax.eval.languages import identity
from hybrid_jax.export import settings, training
from hybrid_jax.export.elsewhere import differences
from hybrid_jax.export.folder import Plan
from hybrid_jax.export.results import Results
from hybrid_jax.export.verify import BOUNDS
from hybrid_jax.runs.trained_on import TrainedOn

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_CACHED = re.compile(r"(?:^|/)models--([^/]+)/snapshots/")


class Markdown(str):
    """Text that is already Markdown; the template escapes all other text."""


def plain(value: object) -> Markdown:
    """The text on one line, escaped: no markup, no table borders, no invisible characters."""
    return Markdown(escape_markdown(value))


def quoted(text: str) -> Markdown:
    """The text as inline code, in quotation marks that make its spaces visible."""
    shown = json.dumps(text, ensure_ascii=False)
    fence = "`" * (_longest_ticks(shown) + 1)
    return Markdown(f"{fence}{shown}{fence}")


def block(text: str, language: str) -> Markdown:
    """The text as a code block."""
    fence = "`" * max(3, _longest_ticks(text) + 1)
    return Markdown(f"{fence}{language}\n{text.rstrip()}\n{fence}")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Markdown:
    """A table with every cell escaped."""
    escaped = ([plain(cell) for cell in row] for row in rows)
    return Markdown("\n".join(markdown_table([plain(name) for name in header], escaped)))


def _longest_ticks(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)


def write_card(
    what: Plan, name: str, trained_on: TrainedOn | None, results: Results | None, exported_with: Mapping[str, Any]
) -> str:
    """The card of the folder `name`.

    `trained_on` is None for a model that we did not train, and for a run without a log; `results` must be of this very
    model.
    """
    origin = what.encoder.origin
    config = origin.config
    trained = training.training_of(origin, trained_on)
    environment = Environment(
        loader=PackageLoader("hybrid_jax.export", "."),
        autoescape=False,  # that is HTML's; `finalize` escapes for Markdown
        finalize=lambda value: value if isinstance(value, Markdown) else plain(value),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    page = environment.get_template("card.md").render(
        name=name,
        what=what,
        origin=origin,
        config=config,
        encoder=what.encoder,
        model=what.encoder.model,
        trained_on=trained_on,
        results=results,
        exported_with=exported_with,
        snippets=_snippets(what, name),
        base=_base_model(origin),
        training=trained,
        seen_kinds=training.kinds,
        seen_languages=training.languages,
        matrix=training.matrix,
        limits=list(_limits(what, trained, results)),
        resolved=None if config is None else yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
        table=table,
        block=block,
        quoted=quoted,
    )
    header = yaml.safe_dump(_header(what, trained_on), sort_keys=False, allow_unicode=True)
    return f"---\n{header}---\n\n{page}"


def _header(what: Plan, trained_on: TrainedOn | None) -> dict[str, Any]:
    """What the hub reads. The licence is left for the model's owner to add."""
    library = "sentence-transformers" if what.format == "sentence-transformers" else "transformers"
    task = "sentence-similarity" if what.format == "sentence-transformers" else "feature-extraction"
    languages = [] if trained_on is None else trained_on.languages
    header: dict[str, Any] = {"language": languages} if languages else {}
    header |= {"library_name": library, "pipeline_tag": task}
    header["tags"] = [library, "sentence-similarity", "feature-extraction", "dual-encoder", "retrieval", "hybrid_jax"]
    base, is_hub_id = _base_model(what.encoder.origin)
    return header | ({"base_model": base} if is_hub_id else {})


def _base_model(origin: Origin) -> tuple[str | None, bool]:
    """What training started from: (hub id, True), (another name, False), or (None, False) for random weights.

    A run's `pretrained: models/xlmr` may be a folder, and somebody's hub id too. It was the hub's if the run took its
    tokenizer from there: the config has the folder, in the hub's cache.
    """
    config = origin.config
    base = str(origin.folder) if config is None else config["pretrained"]
    if base is None:
        return None, False
    if (cached := _cached_id(base)) is not None:
        return cached, True
    if config is not None and base == _cached_id(config["data"]["tokenizer"]["path"] or ""):
        return base, True
    return base if _HUB_ID.fullmatch(base) else Path(base).expanduser().name, False


def _cached_id(folder: str) -> str | None:
    """The hub id of a folder …/models--ORGANISATION--NAME/snapshots/REVISION of the hub's cache; None for others."""
    cached = _CACHED.search(folder)
    return None if cached is None else cached[1].replace("--", "/", 1)


def _limits(what: Plan, trained: training.Training | None, results: Results | None) -> Iterable[str]:
    """What a user must know before relying on the model, a sentence or two each."""
    origin = what.encoder.origin
    config, trained_on = (None, None) if trained is None else (trained.config, trained.seen)
    if len(what.sides) == 1:
        other = "passages" if what.sides == ("query",) else "queries"
        yield f"It encodes one side only: {other} need the run's other tower, exported by itself."
        if results is not None:
            yield "The evaluation is of both towers together."
    if what.debias is not None:
        text_sha256 = what.debias.facts.text_sha256
        text = f" (text with sha256 {text_sha256})" if text_sha256 else ""
        yield (
            f"Its embeddings are debiased after training by {what.debias.summary()}{text}: they are not comparable "
            f"with those of the model before debiasing."
        )
        if results is not None:
            yield "The evaluation is of the embeddings before they were debiased."
    if config is None:
        yield "What it was trained on is not known to the tool that converted it: see the original's own card."
    if trained_on is not None and (languages := trained_on.languages):
        yield f"Trained on {len(languages)} languages ({', '.join(languages)}): this run saw no others."
        seen = set(map(identity, languages))
        if results is not None and (unseen := [code for code in results.languages if identity(code) not in seen]):
            yield f"Evaluated without training data in: {', '.join(unseen)}."
    if trained_on is not None and trained_on.logged + trained_on.skipped < trained_on.steps:
        logged, steps = f"{trained_on.logged:,}", f"{trained_on.steps:,}"
        yield f"The run's log holds {logged} of {steps} batches: the counts above are too low."
    yield f"Texts are cut at {what.max_length} tokens, prompt and special tokens included."
    for line in differences(what):
        yield f"{line[0].upper()}{line[1:]}."
    if (cut := what.encoder.origin.truncate_dim) is not None:
        yield (
            f"Its vectors are the first {cut} numbers of the original's, scaled to length 1 again. A model that was "
            "not trained for it (Matryoshka) ranks worse with fewer numbers."
        )
    if trained is not None and trained.objective is not None:
        yield (
            f"Its loss was the function {trained.objective} of whoever trained it: the config alone does not reproduce "
            "the run."
        )
    if config is not None:
        yield f"One run with one seed ({config['seed']}): how much the numbers vary between seeds is not known."
        if any(not dataset.get("licence") for dataset in config["data"]["datasets"]):
            yield "The licences of the training data are not stated: check them before you use the model."
        commit = (origin.trained_with or {})["git_commit"]
        if commit is None or commit.endswith("-dirty"):
            yield "The code that trained it is not exactly a commit: uncommitted changes, or no git checkout."
    if results is None:
        yield "No evaluation of it is known to this card, so its quality is unknown."
    if what.dtype != "float32":
        yield (
            f"Its numbers are rounded to {what.dtype}: embeddings differ from the original's, by a cosine distance of "
            f"at most {BOUNDS[what.dtype]:g} on the texts that the export compares."
        )


def _snippets(what: Plan, name: str) -> dict[str, str]:
    """{library: code that uses the folder}."""
    both = len(what.sides) == 2
    calls = {
        "query": 'queries = {}(["Where does the river rise?"])',
        "passage": 'passages = {}(["It rises in the Alps."])',
    }
    path, rules, model = json.dumps(name, ensure_ascii=False), what.encoder.rules, what.encoder.model
    snippets: dict[str, str] = {}
    if what.format == "sentence-transformers":
        methods = {"query": "model.encode_query", "passage": "model.encode_document"}
        lines = ["from sentence_transformers import SentenceTransformer", "", f"model = SentenceTransformer({path})"]
        lines += [calls[side].format(methods[side]) for side in what.sides]
        lines += ["scores = model.similarity(queries, passages)"] if both else []
        snippets["sentence-transformers (5 or newer)"] = "\n".join(lines)
    else:
        snippets["transformers"] = _transformers_snippet(what, path)
    methods = {"query": "encoder.encode_queries", "passage": "encoder.encode_passages"}
    options = ""
    if what.format == "hf":  # a plain folder does not state its pooling, prompts and length limit
        prompts = {"query_prompt": rules.query_prompt, "passage_prompt": rules.passage_prompt}
        given = {"pooling": settings.plain_pooling(model), **prompts, "max_length": what.max_length}
        options = "".join(f", {key}={json.dumps(value, ensure_ascii=False)}" for key, value in given.items())
    lines = ["import hybrid_jax", "", f"encoder = hybrid_jax.load({path}{options})"]
    lines += [calls[side].format(methods[side]) for side in what.sides]
    lines += ["scores = encoder.similarity(queries, passages)"] if both else []
    return {**snippets, "hybrid_jax": "\n".join(lines)}


def _transformers_snippet(what: Plan, path: str) -> str:
    rules, texts = what.encoder.rules, {"query": "Where does the river rise?", "passage": "It rises in the Alps."}
    prompts = {"query": rules.query_prompt, "passage": rules.passage_prompt}
    given = json.dumps([prompts[side] + texts[side] for side in what.sides], ensure_ascii=False)
    pooled = {
        "cls": ["vectors = outputs.last_hidden_state[:, 0]"],
        "pooler": ["vectors = outputs.pooler_output"],
        "mean": [
            'mask = batch["attention_mask"].unsqueeze(-1)',
            "vectors = (outputs.last_hidden_state * mask).sum(1) / mask.sum(1)",
        ],
    }[settings.plain_pooling(what.encoder.model)]
    return "\n".join(
        [
            "import torch",
            "from transformers import AutoModel, AutoTokenizer",
            "",
            f"tokenizer, model = AutoTokenizer.from_pretrained({path}), AutoModel.from_pretrained({path})",
            f"texts = {given}",
            'batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")',
            "with torch.no_grad():",
            "    outputs = model(**batch)",
            *pooled,
            "vectors = torch.nn.functional.normalize(vectors, dim=-1)",
        ]
    )
