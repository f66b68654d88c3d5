"""Encoders and the dual encoder made of them: token ids -> vectors. Open `dual_encoder.py` first.

A model family is a folder; `families.py` lists them, `family.py` says what one consists of, `layers.py` has what they
share. Imports nothing else of hybrid_jax.
"""
