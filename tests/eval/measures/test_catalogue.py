"""Every metric's name stands in the catalogue, and nowhere else but where this file says."""

import ast
from pathlib import Path

import hybrid_jax
from hybrid_jax.eval.measures.catalogue import FULL_RANKING, METRICS, POOLS, RANK_DISTANCE

PACKAGE = Path(hybrid_jax.__file__).parent
EVERYWHERE = {"map", "accuracy"}
"""Words of other meanings too (a file's map, mteb's field); mAP is also the field `map` of some results."""
COMPUTED = {
    # Each measure of the panel and each score of bitext is computed under its name, next to its function.
    "eval/measures/catalogue.py": set(METRICS),
    "eval/measures/panel.py": set(METRICS),
    "eval/bitext.py": set(METRICS),
    "eval/measures/cutoffs.py": {"mrr"},  # makes the names of metrics at any cut-off
}
READ = {
    "eval/compare.py": {"max_rank", "rank_distance"},
    "eval/report/drawings.py": {"log_rank_distance", "max_rank", "rank_distance", "removal_gap"},  # have natural scales
    "eval/report/listings.py": set(METRICS),
    "eval/report/mteb_results.py": set(METRICS),
    "eval/report/page.py": {"rank_distance"},
    "eval/report/published.py": set(METRICS),
    "eval/report/rows.py": set(METRICS),
    "eval/report/simple_tables.py": {"weighted_f1_backward"},
    "eval/report/text.py": {"rank_distance"},
    "eval/watch/curve.py": set(METRICS),
    "export/results.py": set(METRICS),
}
"""Files that show a single metric, or have a list of their own. To be shortened, not extended."""
ALLOWED = {**COMPUTED, **READ}


def strings(source: str) -> set[str]:
    """All string literals of a file, docstrings included."""
    constants = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    return {value for value in constants if isinstance(value, str)}


def test_metric_names_stand_in_the_catalogue_only():
    names = set(METRICS) - EVERYWHERE
    elsewhere: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        file = path.relative_to(PACKAGE).as_posix()
        literal = strings(path.read_text(encoding="utf-8")) & names - ALLOWED.get(file, set())
        if literal:
            elsewhere[file] = literal
    assert elsewhere == {}, "write `catalogue.NAME.name`, or loop over one of the catalogue's tables"


def test_what_ranks_alone_give_is_computed_by_the_catalogue():
    assert [name for name, metric in {**FULL_RANKING, **POOLS}.items() if metric.score is None] == []
    assert RANK_DISTANCE.score is not None
