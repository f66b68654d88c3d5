"""Held-out batches measure what has a batch of held-out rows; the notes name everything else that is trained on."""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from hybrid_jax.data.dataset import DatasetConfig
from hybrid_jax.data.describe import heldout_drawn
from hybrid_jax.data.pipeline import DataConfig, Pipeline
from hybrid_jax.data.records import DataError
from hybrid_jax.data.schedule import MixtureConfig
from hybrid_jax.data.tokenizer import TokenizerConfig

Write = Callable[[Path, Iterable[Any]], Path]
FEW, MANY = ("en", "de"), ("en", "de", "es", "zh")


@pytest.fixture
def open_pipeline(tmp_path: Path, write_lines: Write) -> Callable[..., Pipeline]:
    """open_pipeline(languages of each record, fraction, mixture, batch size): a pipeline over so many records."""

    def opened(records: list[tuple[str, ...]], fraction: float, mixture: MixtureConfig, batch_size: int) -> Pipeline:
        rows = [
            {"id": number, "lang": lang, "query": f"{lang} what is {number}?", "passage": f"{lang} it is {number}."}
            for number, languages in enumerate(records)
            for lang in languages
        ]
        config = DataConfig(
            datasets=(DatasetConfig(name="a", path=str(write_lines(tmp_path / "a.jsonl", rows))),),
            tokenizer=TokenizerConfig(vocab_size=300, training_characters=20_000),
            heldout_fraction=fraction,
            cache_dir=str(tmp_path / "cache"),
        )
        return Pipeline(config, mixture, batch_size, seed=0)

    return opened


def _kinds(pipeline: Pipeline) -> Counter[tuple[str, str | None]]:
    parts = [pipeline.heldout_batch(step).plan.parts[0] for step in range(8)]
    return Counter((part.kind, part.language) for part in parts)


def test_what_is_trained_on_and_not_measured_is_one_note(open_pipeline: Callable[..., Pipeline]):
    records = [FEW] * 500 + [("en",)] * 1500
    pipeline = open_pipeline(records, 0.05, MixtureConfig(), 64)
    assert _kinds(pipeline) == {("monolingual", "en"): 8}
    held = pipeline.stores["a"].held_out(0.05)[:500].sum()
    assert 0 < held < 64
    assert pipeline.notes[-1] == (
        f"the held-out loss does not measure what holds out less than a batch: a monolingual in de ({held} of 64 rows)"
        f", a cross_lingual ({held} of 64 records): raise data.heldout_fraction 0.05, or lower batch_size"
    )
    assert len(pipeline.notes) == 2  # the other says that 1,500 records are in one language
    less = open_pipeline(records, 0.05, MixtureConfig(), int(held))
    assert set(_kinds(less)) == {("monolingual", "de"), ("monolingual", "en"), ("cross_lingual", None)}
    assert not any("held-out" in note for note in less.notes)


def test_what_too_few_batches_leave_out_is_named(open_pipeline: Callable[..., Pipeline]):
    pipeline = open_pipeline([MANY] * 400, 0.2, MixtureConfig(), 8)
    schedule = pipeline.heldout_schedule
    assert schedule is not None

    def drawn(batches: int) -> str:
        return heldout_drawn(schedule, pipeline.heldout_sizes, batches)

    assert {(kind, language) for kind, language in _kinds(pipeline) if language} == {
        ("monolingual", language) for language in MANY
    }
    assert drawn(8) in {
        "4 monolingual in de, en, es, zh, 4 cross_lingual",
        "4 cross_lingual, 4 monolingual in de, en, es, zh",
    }
    measured = {plan.parts[0].language for plan in map(schedule, range(2))} - {None}
    (language,) = measured
    rest = ", ".join(f"a monolingual in {other}" for other in sorted(set(MANY) - measured))
    assert drawn(2).endswith(f"; not measured: {rest} (heldout_batches 2 is too few)")
    assert f"1 monolingual in {language}" in drawn(2)


def test_kinds_that_are_not_trained_on_are_not_named(open_pipeline: Callable[..., Pipeline]):
    pipeline = open_pipeline([FEW] * 60 + [("en",)] * 200, 0.3, MixtureConfig(monolingual_fraction=1), 32)
    (note,) = pipeline.notes
    assert "a monolingual in de (" in note
    assert "cross_lingual" not in note


@pytest.mark.parametrize(("languages", "needed"), [(MANY, 16), (FEW, 32)])
def test_an_aligned_batch_is_measured_where_its_records_fill_it(
    open_pipeline: Callable[..., Pipeline], languages: tuple[str, ...], needed: int
):
    """Of 64 rows: 16 records in four languages, 32 in two."""
    mixture = MixtureConfig(monolingual_fraction=0, others="aligned")
    pipeline = open_pipeline([languages] * 400, 0.1, mixture, 64)
    held = pipeline.stores["a"].held_out(0.1).sum()
    assert needed <= held < 64
    assert _kinds(pipeline) == {("aligned", None): 8}
    batch = pipeline.heldout_batch(0)
    assert (len(batch.ids), len(set(batch.ids))) == (64, needed)
    fraction = 0.02 if needed == 16 else 0.06
    assert pipeline.stores["a"].held_out(fraction).sum() < needed
    with pytest.raises(DataError, match="holds out less than one batch of 64 rows: raise it"):
        open_pipeline([languages] * 400, fraction, mixture, 64)
