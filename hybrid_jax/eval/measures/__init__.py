"""Metrics, language bias and statistics: from ranks and embeddings to values per query, means and intervals.

Open `catalogue.py` first, which declares every metric once. May import `eval/tasks`, `eval/ranking.py`,
`eval/languages.py` and the types of `eval/report/schema.py`; knows no model and no benchmark.
"""
