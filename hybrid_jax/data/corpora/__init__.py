"""Where rows come from besides files: the generated demo corpus, and TFDS datasets.

Start with `demo.py`; its sentences are in `wording/`, a text file per language. May import `data/records.py`
and `data/fields.py`.
"""
