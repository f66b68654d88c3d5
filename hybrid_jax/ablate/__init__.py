"""Sweeps: several recipes, several seeds each, and the page that compares them.

Open `results.py` first: what a sweep's folder holds. May import config, runs and eval; no room imports this one.
"""
