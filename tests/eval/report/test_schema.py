"""report.json as types: what is refused, and that the published JSON schema is current."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from hybrid_jax.eval.report.schema import LanguageScores, PoolLanguage, json_schema

ROOT = Path(__file__).resolve().parents[3]
MEANS = {"monolingual": 0.5, "cross_lingual": None, "multilingual": 0.25}


def test_the_published_json_schema_is_current():
    current = (ROOT / "docs" / "report.schema.json").read_text(encoding="utf-8") == json_schema()
    assert current, "run `python -m hybrid_jax.eval.report.schema > docs/report.schema.json`"


def test_metrics_are_read_by_their_names():
    row = LanguageScores.model_validate({"questions": 2, "candidates": 3, "map": MEANS, "rank_distance": 7.0})
    assert row["map"] == row.means("map") == MEANS
    assert (row.value("map", "cross_lingual"), row.value("map")) == (None, 0.25)
    assert (row.value("rank_distance"), row.value("rank_distance", "monolingual")) == (7.0, None)
    assert row.metrics == {"map": MEANS, "rank_distance": 7.0}
    with pytest.raises(KeyError):
        row["mrr"]
    with pytest.raises(TypeError, match="rank_distance is of the multilingual setting alone"):
        row.means("rank_distance")


def test_unknown_metrics_and_wrong_values_are_refused():
    with pytest.raises(ValidationError, match="'maap' is no metric of this version"):
        PoolLanguage.model_validate({"questions": 2, "maap": 0.5})
    with pytest.raises(ValidationError, match="valid number"):
        PoolLanguage.model_validate({"questions": 2, "ndcg@10": "high"})
