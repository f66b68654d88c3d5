"""A sweep's folder with real evaluations of encoders whose language bias is set: no training, a second a sweep."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from support.made_up_plan import made_up_arm, made_up_plan
from support.parallel_task import parallel_task

from hybrid_jax.ablate.folder import Cost, write_plan
from hybrid_jax.debias.fit import fit
from hybrid_jax.debias.methods import Debiaser, Method
from hybrid_jax.eval import pools
from hybrid_jax.eval.bitext import measure as measure_bitext
from hybrid_jax.eval.evaluation import Evaluation
from hybrid_jax.eval.full_ranking import run
from hybrid_jax.eval.measures import per_query
from hybrid_jax.eval.report.build import build_report, write_report
from hybrid_jax.eval.tasks.base import BitextTask, Candidate, Query, SearchTask
from hybrid_jax.eval.variants import debiased

LANGUAGES = ("de", "en", "th")
RECORDS = 12


class Biased:
    """Vectors of a text's record, of its language with a weight, and of noise."""

    def __init__(self, seed: int, language: float, noise: float = 0.5, languages: Sequence[str] = LANGUAGES):
        self._rng, self._language, self._noise = np.random.default_rng(seed), language, noise
        self._languages = languages

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        vectors = self._noise * self._rng.standard_normal((len(texts), RECORDS + len(self._languages)))
        for row, text in enumerate(texts):
            language, record = text.split(" ")
            vectors[row, int(record)] += 1
            vectors[row, RECORDS + self._languages.index(language)] += self._language
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    encode_passages = encode_queries


def made_up_sweep(
    folder: Path,
    arms: Mapping[str, float],
    seeds: Sequence[int] = (0, 1),
    missing: Iterable[tuple[str, int]] = (),
    others: bool = False,
    languages: Sequence[str] = LANGUAGES,
    **changes: Any,
) -> Path:
    """Writes a sweep of arms {name: weight of the language}; those called "alpha=NUMBER" lie on an axis there.

    Runs are also evaluated after the debiasing that `changes` of the plan name, and with `others` on a searched pool
    and a bitext.
    """
    listed = []
    task = parallel_task(languages, RECORDS, "records")
    for place, (name, language) in enumerate(arms.items()):
        axis = {"mixture.monolingual_fraction": float(name[6:])} if name.startswith("alpha=") else {}
        listed.append(made_up_arm(name, **axis))
        for seed in seeds:
            out = folder / "runs" / name / f"seed-{seed}"
            out.mkdir(parents=True)
            (out / "config.yaml").write_text("steps: 40\n")
            if (name, seed) not in missing:
                encoder = Biased(100 * place + seed, language, languages=languages)
                variants = {name: debiased(_fitted(name, encoder)) for name in changes.get("debias", ())}
                evaluation = run(encoder, [task], variants=variants)
                if others:
                    evaluation = with_others(evaluation, encoder)
                write_report(out / "eval", build_report(name, evaluation, {"evaluated_with": {"git_commit": "abc"}}))
                per_query.write(out / "eval" / per_query.FILE_NAME, evaluation.per_query)
                for beside, values in evaluation.beside.items():
                    per_query.write(out / "eval" / per_query.file_name_of(beside), values.per_query)
                (out / "run.json").write_text(json.dumps({"data": {"demo": "0" * 64}}))
                cost = Cost(
                    seconds_train=10.0 + seed, seconds_eval=2.0, pairs=640, tokens=1000 + 100 * place, host="here"
                )
                (out / "cost.json").write_text(cost.model_dump_json())
    write_plan(folder, made_up_plan(listed, seeds, **changes))
    return folder


def with_others(evaluation: Evaluation, encoder: Biased) -> Evaluation:
    """The evaluation with a searched pool of all records and a bitext of two languages."""
    texts = {language: [f"{language} {record}" for record in range(RECORDS)] for language in LANGUAGES}
    everything = [text for of_language in texts.values() for text in of_language]
    pool = SearchTask(
        name="pool",
        queries=tuple(Query(text, text[:2], text) for text in everything),
        corpus=lambda: (Candidate(text, text[:2], (text,)) for text in everything),
        qrels={text: {other: 1 for other in everything if other[3:] == text[3:]} for text in everything},
        about="A made-up pool",
        sources={"corpus": "0" * 64},
    )
    bitext = BitextTask("mined", {("de", "en"): (texts["de"], texts["en"])}, about="A made-up bitext")
    searched, mined = pools.measure(encoder, pool)[""], measure_bitext(encoder, bitext)[""]
    return replace(
        evaluation,
        searches={"pool": searched.result},
        bitext={"mined": mined.result},
        per_query={**evaluation.per_query, "pool": searched.per_query, "mined": mined.per_query},
    )


def _fitted(method: Method, encoder: Biased) -> Debiaser:
    """Fitted on 60 texts of each language."""
    languages = [language for language in LANGUAGES for _ in range(60)]
    texts = [f"{language} {number % RECORDS}" for number, language in enumerate(languages)]
    return fit(method, encoder.encode_passages(texts), languages)
