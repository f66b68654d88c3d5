"""Evaluation: what a model is worth on multilingual retrieval and bitext mining, and how much language bias it has.

Open `job.py` first. Rooms: `tasks/` (benchmarks), `measures/` (metrics and statistics), `report/` (files to read),
`watch/` (a run in progress), `leakage/` (evaluation texts in training). May import every room but `train` and `export`.
"""
