"""What evaluation texts and training texts have in common, which an honest evaluation must know.

`check.py` gives the texts of both sides to `data/overlap.py`; `result.py` is what leakage.json holds; `command.py` is
`python -m hybrid_jax.data leakage`.
"""
