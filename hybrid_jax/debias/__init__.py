"""Debiasing after training: removes the language from finished vectors.

Start with `methods.py`, which has the formula; then `fit.py` and `texts.py`. May import `data`, `embed` and `disk`.
"""
