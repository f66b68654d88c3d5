"""A run's folder on disk: workdir.py (open it first) lists what is in it; beside it the checkpoints, the log, what the
run was trained on, and on which machine.

May import data and disk.
"""
