"""Files written atomically, arrays with a header, file hashes, and tables as text.

Start with `files.py`. Imports nothing else of hybrid_jax, and no jax.
"""
