"""Exact search over vectors, and exact ranks of relevant candidates: the same result on any machine.

Start with `scores.py`, which defines a score; then `top_k.py` and `ranks.py`. May import `runtime`.
"""
