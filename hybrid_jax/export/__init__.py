"""Writes a model as a folder that sentence-transformers or transformers load without code of ours, with a model card.

`folder.py` plans and writes it, `settings.py` and `debiased.py` translate the model, `verify.py` compares what is read
back, and `card.py` describes it.
"""
