"""Evaluates the checkpoints of a run while it trains, from a process of its own.

`command.py` waits for checkpoints, `steps.py` evaluates one and keeps the best, `curve.py` is the file with a line per
step.
"""
