"""Faults that are injected into real runs: `make chaos`.

plan.py says which and how often; lives.py, damage.py, full.py and several.py inject them.
"""
